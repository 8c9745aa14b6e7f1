"""Layers that use the keys and values of others: llama.cpp ends the process where there are none to use."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.conversion.convert import convert
from localllm.errors import InvalidGGUFError
from localllm.gguf_file import read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.header import GGUFHeader
from localllm.gguf_file.preflight import require_loadable
from localllm.gguf_file.writer import TypedValue, array, encode_header, uint32
from tests.conversion.tiny_families import write_tiny_family

DEADLY: dict[str, tuple[dict[str, TypedValue], str]] = {
    "one layer with keys": (
        {"attention.shared_kv_layers": uint32(3)},
        "3 of 4 layers use the keys of others",
    ),
    "no layer with keys": ({"attention.shared_kv_layers": uint32(9)}, "9 of 4 layers use the keys of others"),
    "keys of the wrong layer": (
        {"attention.shared_kv_layers": uint32(1)},
        "without a sliding window have no keys",
    ),
    "windows the other way round": (
        {
            "attention.shared_kv_layers": uint32(2),
            "attention.sliding_window_pattern": array(ValueType.BOOL, [False, True] * 2),
        },
        "with a sliding window have no keys",
    ),
    "no window at all": (
        {"attention.sliding_window_pattern": array(ValueType.BOOL, [False] * 4)},
        "a sliding window for none",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> GGUFHeader:
    directory = tmp_path_factory.mktemp("sound")
    path = directory / "model.gguf"
    convert(write_tiny_family(directory / "gemma4", "gemma4"), output=path)
    return read_header(path)


@pytest.mark.parametrize("name", DEADLY)
def test_what_kills_llama_cpp_is_refused(name: str, sound: GGUFHeader, tmp_path: Path) -> None:
    require_loadable(sound, "the file")
    changes, reason = DEADLY[name]
    metadata = {**sound.encoded, **{f"gemma4.{suffix}": value for suffix, value in changes.items()}}
    path = tmp_path / "deadly.gguf"
    with path.open("wb") as file:
        file.write(encode_header(metadata, sound.tensors))
        file.truncate(2**20)
    with pytest.raises(InvalidGGUFError, match=reason):
        require_loadable(read_header(path), "the file")
