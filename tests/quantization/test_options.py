"""Options do what llama.cpp's own tool does with them: the files are the same, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.errors import NotFoundError, QuantizationError, UsageError
from localllm.gguf_file import read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.split_names import model_files
from localllm.gguf_file.writer import array
from localllm.quantization.levels import LEVELS
from localllm.quantization.options import (
    Override,
    QuantizationOptions,
    parse_layers,
    parse_overrides,
    parse_tensor_types,
    parse_type,
)
from localllm.store import shipped_checkpoint
from tests.quantization.making import make, plan
from tests.quantization.oracle import llama_cpps_own
from tests.tiny_gguf import build_tiny_gguf

OPTIONS: dict[str, dict[str, Any]] = {
    "tensor types": {"tensor_types": (("ffn_down", "Q8_0"), ("blk\\.[01]\\.attn_.*", "IQ4_XS"))},
    "tensor types that do not fit": {"tensor_types": (("attn_v", "Q3_K"),)},
    "output type": {"output_type": "F16"},
    "token embedding type": {"token_embedding_type": "Q4_1"},
    "pure": {"pure": True},
    "leave the output": {"leave_output": True},
    "prune": {"prune_layers": (0, 2)},
    "prune the last": {"prune_layers": (3,)},
    "overrides": {
        "overrides": (
            Override("general.name", "str", "Ünder another name"),
            Override("tiny.new", "int", 4_000_000_000),
            Override("tokenizer.ggml.add_bos_token", "bool", False),
            Override("llama.rope.freq_base", "float", 123.456),
            Override("general.file_type", "int", 7),
        )
    },
}


@pytest.fixture(scope="module", params=[256, 64], ids=["256 wide", "64 wide"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "tiny-F32.gguf"
    return build_tiny_gguf(path, width=request.param, layers=4)


@pytest.fixture(scope="module")
def split_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    path = tmp_path_factory.mktemp("split") / "demo-BF16.gguf"
    return convert(checkpoint, output=path, split_max_bytes=2_000_000).path


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("level", ["Q4_K_M", "Q8_0"])
def test_bytes_are_llama_cpps(name: str, level: str, source: Path, tmp_path: Path) -> None:
    make(source, [level], tmp_path, options=QuantizationOptions(**OPTIONS[name]))
    llama_cpps_own(source, tmp_path / "own", LEVELS[level], **OPTIONS[name])
    assert (tmp_path / f"{level}.gguf").read_bytes() == (tmp_path / "own").read_bytes()


def test_a_split_model_becomes_one_file(split_source: Path, tmp_path: Path) -> None:
    assert len(model_files(split_source)) > 2
    (result,) = make(split_source, ["Q4_K_M"], tmp_path)
    llama_cpps_own(split_source, tmp_path / "own", LEVELS["Q4_K_M"])
    assert result.files == 1
    assert result.path.read_bytes() == (tmp_path / "own").read_bytes()


def test_a_split_model_stays_split_when_asked(split_source: Path, tmp_path: Path) -> None:
    """llama.cpp works in the order of the files then, which changes its choice of types."""
    (result,) = make(split_source, ["Q4_K_M"], tmp_path, options=QuantizationOptions(keep_split=True))
    llama_cpps_own(split_source, tmp_path / "own", LEVELS["Q4_K_M"], keep_split=True)
    made = model_files(result.path)
    assert result.files == len(made) == len(model_files(split_source))
    for path in made:
        own = tmp_path / path.name.replace("Q4_K_M", "own")
        assert path.read_bytes() == own.read_bytes(), path.name


def test_a_split_model_with_a_file_missing(split_source: Path, tmp_path: Path) -> None:
    for path in model_files(split_source)[:-1]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(NotFoundError, match="but only"):
        plan(tmp_path / split_source.name, ["Q8_0"], tmp_path)


def test_quantizing_twice_is_refused_unless_asked_for(source: Path, tmp_path: Path) -> None:
    (once,) = make(source, ["Q8_0"], tmp_path)
    with pytest.raises(QuantizationError, match="is already quantized") as caught:
        plan(once.path, ["Q4_0"], tmp_path)
    assert "--allow-requantize" in str(caught.value.hint)
    make(once.path, ["Q4_0"], tmp_path, options=QuantizationOptions(allow_requantize=True))
    llama_cpps_own(once.path, tmp_path / "own", LEVELS["Q4_0"], allow_requantize=True)
    assert (tmp_path / "Q4_0.gguf").read_bytes() == (tmp_path / "own").read_bytes()


@pytest.mark.parametrize("first", ["Q2_K", "Q3_K_M", "Q4_1", "Q5_K_S", "Q6_K", "IQ4_NL", "TQ2_0", "BF16"])
def test_every_kind_of_block_can_be_read_again(first: str, source: Path, tmp_path: Path) -> None:
    (once,) = make(source, [first], tmp_path)
    make(once.path, ["Q8_0", "F32"], tmp_path, options=QuantizationOptions(allow_requantize=True))
    for name in ("Q8_0", "F32"):
        llama_cpps_own(once.path, tmp_path / "own", LEVELS[name], allow_requantize=True)
        assert (tmp_path / f"{name}.gguf").read_bytes() == (tmp_path / "own").read_bytes()


def test_the_same_level_again_only_copies(source: Path, tmp_path: Path) -> None:
    (once,) = make(source, ["Q8_0"], tmp_path)
    before = once.path.read_bytes()
    (tmp_path / "again").mkdir()
    (again,) = make(once.path, ["Q8_0"], tmp_path / "again")
    assert again.path.read_bytes() == before


@pytest.mark.parametrize(
    ("layers", "reason"),
    [((4,), "there is no layer 4"), ((0, 1, 2, 3), "no layer would be left")],
)
def test_layers_that_cannot_be_left_out(
    layers: tuple[int, ...], reason: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=reason):
        plan(source, ["Q8_0"], tmp_path, options=QuantizationOptions(prune_layers=layers))


def test_layers_of_different_shape_cannot_be_left_out(tmp_path: Path) -> None:
    per_layer = array(ValueType.UINT32, [2, 2])
    source = build_tiny_gguf(
        tmp_path / "x.gguf", layers=2, overrides={"llama.attention.head_count_kv": per_layer}
    )
    with pytest.raises(UsageError, match=r"head_count_kv` differs by layer"):
        plan(source, ["Q8_0"], tmp_path, options=QuantizationOptions(prune_layers=(0,)))


def test_a_named_type_that_does_not_fit(tmp_path: Path) -> None:
    narrow = build_tiny_gguf(tmp_path / "narrow.gguf", width=64, layers=1)
    for options in (
        QuantizationOptions(token_embedding_type="Q2_K"),
        QuantizationOptions(output_type="Q6_K"),
    ):
        with pytest.raises(QuantizationError, match="has rows of 64, which do not fit"):
            plan(narrow, ["Q4_K_M"], tmp_path, options=options)


def test_a_pattern_only_llama_cpp_can_judge(source: Path, tmp_path: Path) -> None:
    """Python accepts a lookbehind, C++ does not: its reason comes through."""
    options = QuantizationOptions(tensor_types=(("(?<=ffn_)down", "Q8_0"),))
    with pytest.raises(QuantizationError, match=r"llama\.cpp refuses"):
        plan(source, ["Q4_0"], tmp_path, options=options)


@pytest.mark.parametrize(
    ("parse", "typed", "value"),
    [
        (parse_tensor_types, "ffn_down=q6_k", (("ffn_down", "Q6_K"),)),
        (parse_tensor_types, r"(?=a)x=F16", ((r"(?=a)x", "F16"),)),
        (parse_layers, "3,1, 5-7", (1, 3, 5, 6, 7)),
        (parse_overrides, "a.b=int:7", (Override("a.b", "int", 7),)),
        (parse_overrides, "a=float:-1e-5", (Override("a", "float", -1e-5),)),
        (parse_overrides, "a=bool:true", (Override("a", "bool", True),)),
        (parse_overrides, "a=str:x=y:z", (Override("a", "str", "x=y:z"),)),
    ],
)
def test_options_as_typed(parse: Any, typed: str, value: object) -> None:
    assert parse([typed]) == value


@pytest.mark.parametrize(
    ("parse", "typed", "reason"),
    [
        (parse_tensor_types, "ffn_down", "is not REGEX=TYPE"),
        (parse_tensor_types, "=Q6_K", "is not REGEX=TYPE"),
        (parse_tensor_types, "a(=Q6_K", "is not a regular expression"),
        (parse_tensor_types, "a=Q9_K", "`Q9_K` is not a tensor type"),
        (parse_tensor_types, "a=I32", "`I32` is not a tensor type"),
        (parse_layers, "x", "`x` is not a layer"),
        (parse_layers, "1,,2", "`` is not a layer"),
        (parse_layers, "5-3", "is not a range of layers"),
        (parse_layers, "-1", "is not a layer"),
        (parse_overrides, "a=7", "is not KEY=TYPE:VALUE"),
        (parse_overrides, "a=list:7", "is not KEY=TYPE:VALUE"),
        (parse_overrides, "a=int:-7", "is not an integer from 0"),
        (parse_overrides, "a=int:4294967296", "is not an integer from 0"),
        (parse_overrides, "a=float:nan", "is not a number"),
        (parse_overrides, "a=bool:yes", "is not true or false"),
        (parse_overrides, "a=str:" + 128 * "x", "is not a text of at most 127 bytes"),
        (parse_overrides, 128 * "k" + "=int:1", "is longer than 127 bytes"),
        (parse_overrides, "split.count=int:1", "cannot be set"),
    ],
)
def test_options_typed_wrong(parse: Any, typed: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse([typed])


def test_types_in_any_case() -> None:
    assert parse_type("iq4_nl") == "IQ4_NL"


def test_overrides_come_out_as_typed(source: Path, tmp_path: Path) -> None:
    options = QuantizationOptions(overrides=parse_overrides(["general.name=str:mine", "x.y=float:0.5"]))
    (made,) = make(source, ["Q8_0"], tmp_path, options=options)
    metadata = read_header(made.path).metadata
    assert (metadata["general.name"], metadata["x.y"]) == ("mine", 0.5)


def test_the_file_a_conversion_would_write_is_what_is_quantized(tmp_path: Path) -> None:
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    converted = convert(checkpoint, output=tmp_path / "16.gguf", out_type=OutType.AUTO).path
    (made,) = make(checkpoint, ["Q4_K_M"], tmp_path)
    llama_cpps_own(converted, tmp_path / "own", LEVELS["Q4_K_M"])
    assert made.path.read_bytes() == (tmp_path / "own").read_bytes()
