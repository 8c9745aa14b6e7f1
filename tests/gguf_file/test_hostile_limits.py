"""The most a file of any size can make us do: in a child with 100 MB more than it starts with, to read it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localllm.gguf_file.format import ValueType
from localllm.gguf_file.reader import MAX_HEADER_BYTES, MAX_PAIRS, MAX_TENSORS
from localllm.gguf_file.window import MAX_TEXTS
from tests.gguf_file.handcrafted import CASES, handcrafted
from tests.gguf_file.raw import array_pair, gguf_bytes, pair, raw_string, tensor, text_pair
from tests.gguf_file.test_hostile_cases import REFUSED

HANG_SECONDS = 120
ALMOST = MAX_HEADER_BYTES - 1000
LLAMA = text_pair(b"general.architecture", b"llama")


def one_text() -> bytes:
    """A text of which one character makes Python store four bytes for each."""
    return gguf_bytes([LLAMA, text_pair(b"k", "\U0001f600".encode() + b"x" * ALMOST)])


def many_pairs() -> bytes:
    return gguf_bytes([pair(b"%d" % index, ValueType.BOOL, b"\1") for index in range(MAX_PAIRS)])


def many_tensors() -> bytes:
    entries = [tensor(b"t%05d" % index * 10, [0, 1, 1, 1]) for index in range(MAX_TENSORS)]
    return gguf_bytes([text_pair(b"k", b"x" * (ALMOST - len(b"".join(entries))))], entries)


def many_keys() -> bytes:
    keys = [text_pair(b"%d" % index + b"k" * 1000, b"") for index in range(MAX_PAIRS - 1)]
    return gguf_bytes([*keys, text_pair(b"k", b"x" * (ALMOST - len(b"".join(keys))))])


def tokens(count: int, text: bytes) -> bytes:
    return gguf_bytes([LLAMA, array_pair(b"tokenizer.ggml.tokens", ValueType.STRING, count, text * count)])


def empty_texts() -> bytes:
    return tokens(MAX_TEXTS // 2, bytes(8))


def one_text_twice() -> bytes:
    return tokens(MAX_TEXTS // 2, raw_string(b"a" * 30))


def different_texts() -> bytes:
    count = MAX_TEXTS // 8
    texts = b"".join(raw_string(b"%080d" % index) for index in range(count))
    return gguf_bytes([LLAMA, array_pair(b"tokenizer.ggml.tokens", ValueType.STRING, count, texts)])


def layers_by_the_million() -> bytes:
    count = ALMOST // 4
    layers = pair(b"llama.block_count", ValueType.UINT32, struct.pack("<I", count))
    heads = array_pair(b"llama.attention.head_count", ValueType.UINT32, count, bytes(4 * count))
    return gguf_bytes([LLAMA, layers, heads])


def long_architecture() -> bytes:
    return gguf_bytes([text_pair(b"general.architecture", b"x" * ALMOST)])


def too_much() -> bytes:
    return gguf_bytes([array_pair(b"k", ValueType.UINT8, MAX_HEADER_BYTES, bytes(MAX_HEADER_BYTES))])


GIANTS: dict[str, Callable[[], bytes]] = {
    function.__name__: function
    for function in (
        *(one_text, many_pairs, many_tensors, many_keys, empty_texts, one_text_twice, different_texts),
        *(layers_by_the_million, long_architecture, too_much),
    )
}


def outcomes(files: dict[str, bytes], folder: Path) -> dict[str, str]:
    """Write files and read them in a child; return what became of each."""
    paths = [folder / f"{index}.gguf" for index in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    child = subprocess.run(
        [sys.executable, "-m", "tests.gguf_file.limited"],
        input=json.dumps(list(map(str, paths))),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert child.returncode == 0, child.stderr
    return dict(zip(files, json.loads(child.stdout), strict=True))


def test_all_damage_takes_little_memory(tmp_path: Path) -> None:
    files = {name: handcrafted(name, seed=0) for name in CASES} | {name: REFUSED[name][0] for name in REFUSED}
    assert "accepted" not in outcomes(files, tmp_path).values()


@pytest.mark.parametrize("name", GIANTS)
def test_giants_take_little_memory(name: str, tmp_path: Path) -> None:
    assert len(outcomes({name: GIANTS[name]()}, tmp_path)[name]) < 500


def test_the_largest_vocabularies_take_little_memory(tmp_path: Path) -> None:
    """262,144 tokens with scores and types, as Gemma has them; a vocabulary alone is accepted."""
    texts = [b"<0x%02X>" % value for value in range(256)] + [b"token%d" % index for index in range(261_888)]
    count = len(texts)
    vocabulary = gguf_bytes(
        [
            LLAMA,
            text_pair(b"tokenizer.ggml.model", b"llama"),
            array_pair(b"tokenizer.ggml.tokens", ValueType.STRING, count, b"".join(map(raw_string, texts))),
            array_pair(b"tokenizer.ggml.scores", ValueType.FLOAT32, count, bytes(4 * count)),
            array_pair(b"tokenizer.ggml.token_type", ValueType.INT32, count, bytes(4 * count)),
        ]
    )
    assert outcomes({"large": vocabulary}, tmp_path) == {"large": "accepted"}
