"""Which files a reference means, for the ways people name files on the hub."""

from __future__ import annotations

import pytest

from localllm.errors import NotFoundError, UnsupportedModelError, UsageError
from localllm.hub.cache import RepoFile, is_safe_path
from localllm.hub.selection import RepoKind, Wish, choose, gguf_sets, level_of

LEVELS = {
    "Qwen2.5-0.5B-Instruct-Q4_K_M.gguf": "Q4_K_M",
    "qwen2.5-0.5b-instruct-q4_k_m.gguf": "Q4_K_M",
    "model.Q5_K_S.gguf": "Q5_K_S",
    "ggml-model-q4_0.gguf": "Q4_0",
    "Model-UD-Q4_K_XL.gguf": "UD-Q4_K_XL",
    "UD-IQ2_XXS/Model-UD-IQ2_XXS-00001-of-00003.gguf": "UD-IQ2_XXS",
    "Q4_K_M/model-00001-of-00002.gguf": "Q4_K_M",
    "Model.i1-IQ3_XS.gguf": "IQ3_XS",
    "model-f16.gguf": "F16",
    "model-fp16.gguf": "F16",
    "Model-BF16.gguf": "BF16",
    "gpt-oss-20b-mxfp4.gguf": "MXFP4",
    "gemma-3-4b-it-q4_0_s.gguf": "Q4_0_S",
    "Model-Q8_0-draft.gguf": "Q8_0",
    "phi-2.gguf": "",
    "llama-f160.gguf": "",
}


def files(*names: str, size: int = 100) -> list[RepoFile]:
    return [RepoFile(name, size + number, f"{number:040x}") for number, name in enumerate(names)]


def paths(found: tuple[RepoFile, ...]) -> list[str]:
    return [file.path for file in found]


@pytest.mark.parametrize("name", LEVELS)
def test_the_level_in_a_name(name: str) -> None:
    assert level_of(name) == LEVELS[name]


def test_the_usual_level_is_preferred() -> None:
    choice = choose("o/r", files("m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"), Wish())
    assert (choice.level, choice.reason, choice.others) == ("Q4_K_M", "the usual choice", ("Q2_K", "Q8_0"))


@pytest.mark.parametrize(
    ("levels", "chosen"),
    [
        (("Q8_0", "Q4_0", "Q2_K"), "Q4_0"),
        (("UD-Q4_K_XL", "Q8_0"), "UD-Q4_K_XL"),
        (("UD-Q4_K_M", "Q4_K_M"), "Q4_K_M"),
        (("Q3_K_M", "Q5_K_M"), "Q5_K_M"),
        (("F16", "Q8_0"), "Q8_0"),
        (("IQ1_S", "Q2_K"), "IQ1_S"),
    ],
)
def test_without_the_usual_level_the_nearest_is_taken(levels: tuple[str, ...], chosen: str) -> None:
    choice = choose("o/r", files(*(f"m-{level}.gguf" for level in levels)), Wish())
    assert choice.level == chosen
    assert choice.reason


def test_projectors_and_matrices_are_no_models() -> None:
    names = ("m-Q4_K_M.gguf", "mmproj-m-F16.gguf", "m.imatrix.gguf", "mmproj-BF16.gguf")
    assert [found.level for found in gguf_sets(files(*names))] == ["Q4_K_M"]
    choice = choose("o/r", files(*names), Wish(projector=True))
    assert paths(choice.files) == ["m-Q4_K_M.gguf", "mmproj-m-F16.gguf"]
    with pytest.raises(NotFoundError, match="no vision projector"):
        choose("o/r", files("m-Q4_K_M.gguf"), Wish(projector=True))


def test_the_parts_of_a_split_model_are_one_set() -> None:
    names = [f"big-Q4_K_M-{number:05d}-of-00003.gguf" for number in (3, 1, 2)]
    choice = choose("o/r", files(*names, "big-Q8_0.gguf"), Wish("Q4_K_M"))
    assert paths(choice.files) == sorted(names)
    assert choose("o/r", files(*names), Wish(file=names[2])).files == choice.files
    with pytest.raises(NotFoundError, match="1 of the 3 files"):
        choose("o/r", files(*names[1:]), Wish("Q4_K_M"))


def test_two_models_at_one_level_must_be_told_apart() -> None:
    names = ("a-Q4_K_M.gguf", "b-Q4_K_M.gguf")
    with pytest.raises(UsageError, match="2 models at Q4_K_M: a-Q4_K_M") as caught:
        choose("o/r", files(*names), Wish("Q4_K_M"))
    assert caught.value.hint == "name one of them: `o/r/a-Q4_K_M.gguf`"
    assert paths(choose("o/r", files(*names), Wish(file="b-Q4_K_M.gguf")).files) == ["b-Q4_K_M.gguf"]


def test_a_level_may_leave_out_the_maker() -> None:
    assert choose("o/r", files("m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf"), Wish("Q4_K_XL")).level == "UD-Q4_K_XL"


CHECKPOINT = ("config.json", "tokenizer.json", "README.md", "generation_config.json", "onnx/model.onnx")


def test_a_checkpoint_is_what_conversion_needs() -> None:
    extra = (
        "pytorch_model.bin",
        "consolidated.safetensors",
        "training_args.bin",
        "original/model.safetensors",
    )
    choice = choose("o/r", files(*CHECKPOINT, *extra, "model.safetensors"), Wish())
    assert choice.kind is RepoKind.CHECKPOINT
    assert paths(choice.files) == [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "README.md",
        "model.safetensors",
    ]


def test_with_an_index_only_numbered_weights_count() -> None:
    shards = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]
    names = (*CHECKPOINT, "model.safetensors", "model.safetensors.index.json", *shards)
    found = paths(choose("o/r", files(*names), Wish()).files)
    assert found[-2:] == shards
    assert "model.safetensors" not in found


def test_gguf_files_come_before_a_checkpoint_unless_it_is_wanted() -> None:
    both = files(*CHECKPOINT, "model.safetensors", "m-Q8_0.gguf")
    assert choose("o/r", both, Wish()).kind is RepoKind.GGUF
    assert choose("o/r", both, Wish(checkpoint=True)).kind is RepoKind.CHECKPOINT
    assert choose("o/r", both, Wish(prefers_checkpoint=True)).kind is RepoKind.CHECKPOINT
    only = files("m-Q8_0.gguf")
    assert choose("o/r", only, Wish(prefers_checkpoint=True)).kind is RepoKind.GGUF
    with pytest.raises(NotFoundError, match="no language model"):
        choose("o/r", only, Wish(checkpoint=True))


def test_an_adapter_comes_with_its_tokenizer() -> None:
    names = (
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "checkpoint-5/x.safetensors",
    )
    choice = choose("o/r", files(*names), Wish())
    assert choice.kind is RepoKind.ADAPTER
    assert paths(choice.files) == ["adapter_config.json", "tokenizer.json", "adapter_model.safetensors"]


def test_what_cannot_be_used() -> None:
    with pytest.raises(UnsupportedModelError, match="only pickled weights"):
        choose("o/r", files("config.json", "pytorch_model.bin"), Wish())
    with pytest.raises(NotFoundError, match="no language model"):
        choose("o/r", files("data.csv"), Wish())
    with pytest.raises(NotFoundError, match="no files"):
        choose("o/r", [], Wish())


UNSAFE = (
    *("", ".", "..", "/etc/passwd", "../x", "a/../x", "a//b", "a/", "./a", "a\\b", "..\\x", "C:\\x", "C:/x"),
    *("D:x", "\\\\host\\share\\x", "\\x", "a/C:x", "a\nb", "a\x1b[0m", "a\0b", "x" * 1025),
)


@pytest.mark.parametrize("path", UNSAFE)
def test_names_that_lead_elsewhere(path: str) -> None:
    assert not is_safe_path(path)


@pytest.mark.parametrize("path", ["a", "a.gguf", "a/b/c.gguf", "ü.gguf", "a b.gguf", "..a", "a..b/.c"])
def test_names_that_are_fine(path: str) -> None:
    assert is_safe_path(path)
