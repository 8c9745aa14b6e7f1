"""A pre-tokenizer is recognised by its structure; llama.cpp then splits text as the tokenizer does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import Checkpoint
from localllm.conversion.candidates import agreement_by_name, reduce_to
from localllm.conversion.pretokenizer_names import ALIKE, LACK_MARKS
from localllm.conversion.pretokenizers import PRETOKENIZERS, recognise
from localllm.conversion.tokenizer_samples import sample_lines
from localllm.conversion.verify import verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError, UsageError
from localllm.events import Advanced, Event, Finished, Started
from tests.conversion.tiny_llama import ROWS, edit_json, write_tiny_llama
from tests.conversion.tiny_tokenizer import pre_tokenizer, tiny_tokenizer
from tests.conversion.vocabulary_files import write_vocabulary

# tokenizer file in the test material -> llama.cpp's name
REAL = {
    "assembled/llama-3.2/tokenizer.json": "llama-bpe",
    "assembled/qwen2.5/tokenizer.json": "qwen2",
    "smollm/smollm2-135m-instruct/SmolLM2-135M-Instruct-Tokenizer.json": "smollm",
    "gpt2/gpt2-hub-copy-onnx/tokenizer.json": "gpt-2",
    "gpt2/gpt2-hub-copy/tokenizer.json": "gpt-2",
    "gpt_neox/pythia-410m-chatbot/tokenizer.json": "gpt-2",
    "granite/tiny_granite_vision/tokenizer.json": "gpt-2",
    "lora/lab_08/tokenizer.json": "gpt-2",
    "olmo/olmo-tokenizers/allenai_dolma2.json": "dbrx",
    "olmo/olmo-tokenizers/allenai_eleuther-ai-gpt-neox-20b-pii-special.json": "gpt-2",
    "olmo/olmo-tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json": "gpt-2",
    "weights/tiny-bloom-caikit/tokenizer.json": "bloom",
}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
UNKNOWN = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, LEVEL]}


def split(regex: str, behavior: str = "Isolated", *, invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def vocabulary_file(
    content: dict[str, Any], directory: Path, pre: str | None = None
) -> tuple[Path, Checkpoint]:
    """Write a GGUF file that holds the vocabulary of a tokenizer.json alone; return it and its checkpoint."""
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    checkpoint = Checkpoint(directory, config={}, tensors={})
    used = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
    vocabulary = build_vocabulary(checkpoint, max(used) + 1, pre)
    return write_vocabulary(directory, checkpoint, vocabulary), checkpoint


@pytest.fixture(scope="session")
def reduced(material: Path) -> dict[str, Any]:
    """Llama 3's tokenizer with the pieces of the samples alone: words of many scripts, long numbers."""
    content = json.loads((material / "assembled/llama-3.2/tokenizer.json").read_text("utf-8"))
    return reduce_to(content, sample_lines())


@pytest.mark.parametrize(("tokenizer", "name"), REAL.items())
def test_real_tokenizers_are_recognised_whatever_was_added(tokenizer: str, name: str, material: Path) -> None:
    """The reference hashes the tokens of a sample, which an added token among them would change."""
    content = json.loads((material / tokenizer).read_text(encoding="utf-8"))
    assert recognise(content) == name
    grown = copy.copy(content)
    grown["added_tokens"] = [*content["added_tokens"], {"id": 999_999, "content": "Hello", "special": False}]
    assert recognise(grown) == name
    assert recognise({**content, "added_tokens": []}) == name


@pytest.mark.parametrize(("signature", "name"), PRETOKENIZERS.items(), ids=list(PRETOKENIZERS.values()))
def test_every_structure_splits_alike(
    signature: tuple[tuple[str, str], ...], name: str, reduced: dict[str, Any], tmp_path: Path
) -> None:
    """With a vocabulary that shows how numbers and words were split, whatever it was trained with."""
    steps = sequence(*(split(regex) for kind, regex in signature if kind == "Split"), LEVEL)
    model = {**reduced["model"], "ignore_merges": name in ("llama-bpe", "tekken")}
    if name == "deepseek-llm":  # llama.cpp does not cut numbers there: the vocabulary has digits alone
        model["merges"] = [pair for pair in model["merges"] if sum(map(str.isdigit, "".join(pair))) < 2]
    path, checkpoint = vocabulary_file({**reduced, "pre_tokenizer": steps, "model": model}, tmp_path)
    assert recognise(checkpoint.json("tokenizer.json")) == name
    remarks = verify_tokenization(path, checkpoint, "tokenizer.json")
    assert bool(remarks) == (name in LACK_MARKS), remarks


LLAMA3 = pre_tokenizer("llama-bpe")["pretokenizers"][0]["pattern"]["Regex"]
QWEN2 = pre_tokenizer("qwen2")["pretokenizers"][0]["pattern"]["Regex"]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        (sequence(split(LLAMA3, "Removed", invert=True), LEVEL), "dbrx"),
        (sequence(split(QWEN2, "Removed", invert=True), LEVEL), "qwen2"),
        (sequence(sequence(split(QWEN2)), LEVEL), "qwen2"),
        (sequence(split(QWEN2.replace(r"\r", "\r").replace(r"\n", "\n")), LEVEL), "qwen2"),
        (sequence({**LEVEL, "use_regex": True}), "gpt-2"),
        (sequence(split(GPT2), LEVEL), "gpt-2"),
        (sequence({"type": "Digits", "individual_digits": True}, {**LEVEL, "use_regex": True}), "smollm"),
        (sequence(split(r"\p{N}"), {**LEVEL, "use_regex": True}), "smollm"),
    ],
)
def test_other_spellings_of_the_same(
    steps: dict[str, Any], name: str, reduced: dict[str, Any], tmp_path: Path
) -> None:
    model = {**reduced["model"], "ignore_merges": False}
    path, checkpoint = vocabulary_file({**reduced, "pre_tokenizer": steps, "model": model}, tmp_path)
    assert recognise(checkpoint.json("tokenizer.json")) == name
    verify_tokenization(path, checkpoint, "tokenizer.json")


@pytest.mark.parametrize(
    "steps",
    [
        None,
        "nonsense",
        {"type": "Whitespace"},
        LEVEL,
        {**LEVEL, "use_regex": True, "add_prefix_space": True},
        sequence(split("x"), LEVEL),
        sequence(split(QWEN2, "Removed"), LEVEL),
        sequence(split(QWEN2, "MergedWithPrevious"), LEVEL),
        sequence({"type": "Split", "pattern": {"String": QWEN2}, "behavior": "Isolated"}, LEVEL),
        {"type": "Sequence", "pretokenizers": 7},
        {"type": "Split", "pattern": []},
    ],
)
def test_unknown_structures_are_not_guessed(steps: Any) -> None:
    assert recognise({"pre_tokenizer": steps}) is None


def test_a_bottomless_structure_is_not_known() -> None:
    steps: dict[str, Any] = LEVEL
    for _ in range(400):
        steps = sequence(steps)
    assert recognise({"pre_tokenizer": steps}) is None


def test_an_unknown_structure_fails_with_those_that_tokenize_alike(
    reduced: dict[str, Any], tmp_path: Path
) -> None:
    """Llama 3's splits, spelled in a way that is not known."""
    steps = sequence(split(LLAMA3.replace("(?i:'s|'t", "(?i:'t|'s")), LEVEL)
    content = {**reduced, "pre_tokenizer": steps}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    heard: list[Event] = []
    with pytest.raises(TokenizerError) as caught:
        build_vocabulary(Checkpoint(tmp_path, config={}, tensors={}), 10_000, emit=heard.append)
    assert caught.value.message == (
        "the pre-tokenizer of tokenizer.json is not known (steps: Split, ByteLevel); llama.cpp's llama-bpe, "
        f"llama3, llama-v3, falcon3 and 7 more tokenize {len(sample_lines())} samples alike"
    )
    assert "`--pre llama-bpe`" in str(caught.value.hint)
    assert heard[0] == Started("pre-tokenizer", len(ALIKE))
    assert heard[-1] == Finished("pre-tokenizer")
    assert [event.done for event in heard if isinstance(event, Advanced)] == list(range(1, len(ALIKE) + 1))


def test_an_unknown_structure_that_llama_cpp_cannot_do(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny")
    edit_json(directory / "tokenizer.json", pre_tokenizer=sequence(split("[aeiou]"), LEVEL))
    checkpoint = Checkpoint(directory, config={}, tensors={})
    with pytest.raises(
        TokenizerError, match=r"none of llama\.cpp's tokenizes alike; the nearest is"
    ) as caught:
        build_vocabulary(checkpoint, ROWS)
    assert "--pre NAME" in str(caught.value.hint)


def test_a_reduced_tokenizer_tokenizes_alike(reduced: dict[str, Any], material: Path) -> None:
    from tokenizers import Tokenizer

    whole = Tokenizer.from_file(str(material / "assembled/llama-3.2/tokenizer.json"))
    part = Tokenizer.from_str(json.dumps(reduced))
    assert part.get_vocab_size() < 5000
    for line in sample_lines():
        tokens = whole.encode(line, add_special_tokens=False).tokens
        assert part.encode(line, add_special_tokens=False).tokens == tokens


def test_llama_cpp_accepts_the_best_known_name_of_every_kind(reduced: dict[str, Any]) -> None:
    content = {**reduced, "pre_tokenizer": pre_tokenizer("llama-bpe")}
    texts, agreed = agreement_by_name(content)
    dies = "whitespace"  # llama.cpp aborts on the samples with it
    assert list(agreed) == [names[0] for names in ALIKE if names[0] != dies]
    assert max(agreed, key=agreed.__getitem__) == "llama-bpe"
    assert min(agreed.values()) < len(texts)


@pytest.mark.parametrize("pre", ["llama-bpe", "qwen2"])
def test_tiny_tokenizers_split_alike(pre: str, tmp_path: Path) -> None:
    path, checkpoint = vocabulary_file(tiny_tokenizer(pre), tmp_path)
    assert recognise(checkpoint.json("tokenizer.json")) == pre
    verify_tokenization(path, checkpoint, "tokenizer.json")


@pytest.mark.parametrize("wrong", ["gpt-2", "smollm", "qwen2"])
def test_a_wrong_name_is_found_out(wrong: str, reduced: dict[str, Any], tmp_path: Path) -> None:
    path, checkpoint = vocabulary_file(reduced, tmp_path, pre=wrong)
    with pytest.raises(TokenizerError, match=r"llama\.cpp would tokenize .* differently") as caught:
        verify_tokenization(path, checkpoint, "tokenizer.json")
    assert "--pre" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("qwen", "did you mean `--pre qwen2` or `--pre qwen35`?"),
        ("llama-bep", "`--pre llama-bpe`"),
        ("\x00\n", "it knows llama-bpe"),
        ("", "it knows llama-bpe"),
    ],
)
def test_a_name_llama_cpp_does_not_know_is_refused(name: str, hint: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint(write_tiny_llama(tmp_path / "tiny"), config={}, tensors={})
    with pytest.raises(UsageError, match=r"llama\.cpp knows no pre-tokenizer") as caught:
        build_vocabulary(checkpoint, ROWS, pre=name)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizes text with Lowercase"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]}},
            "with Strip",
        ),
        ({"pre_tokenizer": {**LEVEL, "use_regex": True, "add_prefix_space": True}}, "puts a space in front"),
        ({"model": {"continuing_subword_prefix": "##"}}, "continuing_subword_prefix '##'"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix '</w>'"),
        ({"model": {"dropout": 0.1}}, r"merges at random \(dropout 0.1\)"),
    ],
)
def test_what_llama_cpp_cannot_do_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = tiny_tokenizer()
    changed = {**content, **change, "model": {**content["model"], **change.get("model", {})}}
    with pytest.raises(TokenizerError, match=message) as caught:
        vocabulary_file(changed, tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("normalizer", [None, {"type": "NFC"}, {"type": "Sequence", "normalizers": []}])
def test_normal_text_is_no_obstacle(normalizer: Any, tmp_path: Path) -> None:
    path, checkpoint = vocabulary_file({**tiny_tokenizer(), "normalizer": normalizer}, tmp_path)
    verify_tokenization(path, checkpoint, "tokenizer.json")
