"""Files that kill llama.cpp are refused with their reason, and what is accepted does not kill it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.errors import InvalidGGUFError, ModelLoadError, NotFoundError
from localllm.gguf_file import TypedValue, read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.preflight import read_loadable, require_loadable
from localllm.gguf_file.split_keys import split_metadata
from localllm.native.vocabulary import tokenize_with_file
from tests.gguf_file.damage import (
    DEADLY,
    HEAD,
    LAYERS,
    LEFT_TO_LLAMA_CPP,
    REPORTED,
    SOUND,
    WIDTH,
    Changes,
    build,
    metadata,
    stored_as,
)
from tests.gguf_file.loading import Outcome, load_all
from tests.gguf_file.raw import MemorySource, gguf_bytes, text_pair


@pytest.mark.parametrize("name", DEADLY)
def test_what_kills_llama_cpp_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    changes, reason = DEADLY[name]
    header = read_header(build(tmp_path / "deadly.gguf", changes))
    with pytest.raises(InvalidGGUFError, match=reason) as caught:
        require_loadable(header, "the file")
    assert caught.value.message.startswith("the file: ")
    assert_shows_well(caught.value)


@pytest.mark.parametrize("name", REPORTED)
def test_what_cannot_run_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    changes, reason = REPORTED[name]
    with pytest.raises(InvalidGGUFError, match=reason) as caught:
        read_loadable(build(tmp_path / "damaged.gguf", changes))
    assert_shows_well(caught.value)


def assert_shows_well(error: InvalidGGUFError) -> None:
    assert error.message.isprintable()
    assert error.hint


@pytest.mark.parametrize("name", ["an encoder and a decoder", "a draft model", "no vocabulary"])
def test_what_is_no_language_model_is_accepted_when_nothing_runs_it(name: str, tmp_path: Path) -> None:
    header = read_header(build(tmp_path / "other.gguf", DEADLY[name][0]))
    require_loadable(header, "the file", to_run=False)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"general.name", b"\xff", r"`general\.name` is not valid UTF-8"),
        (b"\xff\x1b", b"caf\xe9", r"`\\xff\\x1b` is not valid UTF-8"),
        (b"llama.rope.scaling.type", b"none\0", "has a zero byte in it"),
        (b"general.name", b"a\0b", "has a zero byte in it"),
    ],
)
def test_texts_that_are_none_are_refused(key: bytes, value: bytes, reason: str) -> None:
    pairs = [text_pair(b"general.architecture", b"llama"), text_pair(key, value)]
    with pytest.raises(InvalidGGUFError, match=reason) as caught:
        require_loadable(read_header(MemorySource(gguf_bytes(pairs))), "the file")
    assert caught.value.message.isprintable()


def test_a_long_architecture_is_refused() -> None:
    header = read_header(MemorySource(gguf_bytes([text_pair(b"general.architecture", b"\x1b" * 10**6)])))
    with pytest.raises(InvalidGGUFError, match="unknown architecture") as caught:
        require_loadable(header, "the file")
    assert len(caught.value.message) < 400


def test_sound_models_are_accepted_and_load(tmp_path: Path) -> None:
    paths = [build(tmp_path / f"{index}.gguf", changes) for index, changes in enumerate(SOUND.values())]
    for path in paths:
        require_loadable(read_header(path), path.name)
    assert load_all(paths) == Outcome({}, len(paths))


@pytest.mark.parametrize("name", LEFT_TO_LLAMA_CPP)
def test_what_depends_on_its_version_is_left_to_llama_cpp(name: str, tmp_path: Path) -> None:
    path = build(tmp_path / "unknown.gguf", LEFT_TO_LLAMA_CPP[name])
    require_loadable(read_header(path), name)
    with pytest.raises(ModelLoadError, match="unheard-of"):
        tokenize_with_file(path, ["a"])


def test_real_files_are_accepted(material: Path) -> None:
    weights = material / "weights"
    paths = [*weights.glob("gguf-fixtures-gridcore/*.gguf"), *weights.glob("llama-2-tiny-random-gguf/*.gguf")]
    assert len(paths) == 9
    for path in paths:
        read_loadable(path)


# split models -----------------------------------------------------------------------------------


def split(folder: Path, *, second: Changes | None = None, place: tuple[int, int] = (1, 2)) -> Path:
    """Write a model whose second layer is in a second file, which `second` changes."""
    names = [f"blk.{layer}." for layer in range(LAYERS)]
    whole = read_header(build(folder / "whole.gguf", {}))
    of_second = [tensor.name for tensor in whole.tensors if tensor.name.startswith(names[1])]
    first_path, second_path = (folder / f"m-0000{number}-of-00002.gguf" for number in (1, 2))
    first = {"tensors": dict.fromkeys(of_second), "overrides": split_metadata(0, 2, len(whole.tensors))}
    build(first_path, first)
    rest = {tensor.name: None for tensor in whole.tensors if tensor.name not in of_second}
    changes = second or {}
    build(
        second_path,
        {
            "tensors": {**rest, **changes.get("tensors", {})},
            "overrides": {**split_metadata(*place, len(whole.tensors)), **changes.get("overrides", {})},
        },
    )
    return first_path


def test_a_split_model_is_accepted_and_loads(tmp_path: Path) -> None:
    path = split(tmp_path)
    assert read_loadable(path).architecture == "llama"
    assert load_all([path]) == Outcome({}, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"second": stored_as("blk.1.attn_norm.weight", "F16", WIDTH)}, "00002.gguf: vector .* as F16"),
        (
            {"second": stored_as("blk.1.attn_q.weight", "F64", WIDTH, WIDTH)},
            "00002.gguf: .* not a weight type",
        ),
        ({"second": stored_as("blk.1.attn_k.weight", "F32", WIDTH, HEAD)}, "shape"),
        ({"second": {"tensors": {"blk.1.attn_k.weight": None}}}, "00001-of-00002.gguf: layer 2 lacks"),
        ({"place": (0, 2)}, "00002.gguf: it does not say that it is file 2 of 2"),
        ({"place": (1, 3)}, "00002.gguf: it does not say that it is file 2 of 2"),
    ],
)
def test_damage_in_a_later_file_is_refused(changes: Changes, reason: str, tmp_path: Path) -> None:
    path = split(tmp_path, **changes)
    require_loadable(read_header(path), "the first alone")
    with pytest.raises(InvalidGGUFError, match=reason):
        read_loadable(path)


def test_a_missing_later_file_is_not_found(tmp_path: Path) -> None:
    path = split(tmp_path)
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(NotFoundError, match="00002-of-00002"):
        read_loadable(path)


def test_a_split_model_needs_its_name(tmp_path: Path) -> None:
    path = split(tmp_path).rename(tmp_path / "m.gguf")
    with pytest.raises(InvalidGGUFError, match="its name does not say so"):
        read_loadable(path)


def test_a_giant_split_count_is_refused(tmp_path: Path) -> None:
    count = TypedValue(ValueType.UINT16, 65_535)
    path = build(tmp_path / "m-00001-of-65535.gguf", metadata(split__count=count))
    with pytest.raises(NotFoundError, match="00002-of-65535"):
        read_loadable(path)
