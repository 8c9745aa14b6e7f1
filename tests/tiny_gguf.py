"""Builds tiny llama-architecture GGUF files that llama.cpp loads, with random weights, and damages them.

Rows are 256 wide by default, so that every K-quant fits; narrower models make llama.cpp fall back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, TensorType, ValueType
from localllm.gguf_file.writer import (
    GGUFWriter,
    Metadata,
    TensorEntry,
    TypedValue,
    array,
    float32,
    string,
    uint32,
)

Value = TypeVar("Value")

HEADS, KV_HEADS = 4, 2
CONTEXT = 64
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama_token_type


@dataclass(frozen=True)
class RawTensor:
    """A tensor as it lies in the file: ggml shape order (row length first) and encoded bytes."""

    type: TensorType
    shape: tuple[int, ...]
    data: bytes


Overrides = Mapping[str, TypedValue | None]
Tensors = Mapping[str, RawTensor | None]


def build_tiny_gguf(
    path: Path,
    *,
    width: int = 256,
    layers: int = 2,
    vocabulary: str = "spm",
    template: str | None = None,
    overrides: Overrides | None = None,
    tensors: Tensors | None = None,
    alignment: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a tiny model to `path` and return the path.

    `vocabulary` is "spm" or "bpe". `overrides` replaces metadata, `tensors` replaces tensors; None
    in either removes one.
    """
    metadata: dict[str, TypedValue | None] = {
        **_hyperparameters(width, layers),
        **(_spm_vocabulary() if vocabulary == "spm" else _bpe_vocabulary()),
    }
    if template is not None:
        metadata[Key.CHAT_TEMPLATE] = string(template)
    if alignment is not None:
        metadata[Key.ALIGNMENT] = uint32(alignment)
    vocabulary_size = _token_count(metadata)
    weights: dict[str, RawTensor | None] = {**_weights(width, layers, vocabulary_size, seed)}
    write_gguf(path, _merged(metadata, overrides or {}), _merged(weights, tensors or {}))
    return path


def write_gguf(path: Path, metadata: Metadata, tensors: Mapping[str, RawTensor]) -> None:
    """Write any metadata and tensors as a GGUF file."""
    entries = [TensorEntry(name, tensor.shape, tensor.type) for name, tensor in tensors.items()]
    with path.open("wb") as file:
        writer = GGUFWriter(file, metadata, entries)
        for name, tensor in tensors.items():
            writer.write_tensor(name, [tensor.data])
        writer.finish()


def raw_tensor(values: NDArray[np.float32], type_name: str = "F32") -> RawTensor:
    """Return `values` stored as F32, F16, F64 or I32, or encoded by ggml."""
    kind = TENSOR_TYPES_BY_NAME[type_name]
    shape = tuple(reversed(values.shape))
    plain = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I32": "<i4"}.get(type_name)
    if plain:
        return RawTensor(kind, shape, values.astype(plain).tobytes())
    from localllm.native.rows import encode_rows

    return RawTensor(kind, shape, encode_rows(values.reshape(-1, values.shape[-1]), kind).tobytes())


def _merged(values: Mapping[str, Value | None], changes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def _hyperparameters(width: int, layers: int) -> dict[str, TypedValue]:
    return {
        Key.ARCHITECTURE: string("llama"),
        Key.NAME: string("tiny"),
        Key.FILE_TYPE: uint32(0),
        "llama.context_length": uint32(CONTEXT),
        "llama.embedding_length": uint32(width),
        "llama.block_count": uint32(layers),
        "llama.feed_forward_length": uint32(width),
        "llama.attention.head_count": uint32(HEADS),
        "llama.attention.head_count_kv": uint32(KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
        "llama.rope.dimension_count": uint32(width // HEADS),
        "llama.rope.freq_base": float32(10000.0),
    }


def _spm_vocabulary() -> dict[str, TypedValue]:
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    pieces = ["\u2581" + letter for letter in "abcdefgh"] + list("abcdefghij")
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *pieces]
    types = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * len(pieces)]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(pieces))]
    return {
        Key.TOKENIZER_MODEL: string("llama"),
        Key.TOKENIZER_PRE: string("default"),
        Key.TOKENS: array(ValueType.STRING, tokens),
        Key.SCORES: array(ValueType.FLOAT32, scores),
        Key.TOKEN_TYPES: array(ValueType.INT32, types),
        "tokenizer.ggml.bos_token_id": uint32(1),
        "tokenizer.ggml.eos_token_id": uint32(2),
        "tokenizer.ggml.unknown_token_id": uint32(0),
    }


def _bpe_vocabulary() -> dict[str, TypedValue]:
    tokens = [*_byte_letters(), "ab", "cd", "<|endoftext|>", "<|im_end|>"]
    return {
        Key.TOKENIZER_MODEL: string("gpt2"),
        Key.TOKENIZER_PRE: string("gpt-2"),
        Key.TOKENS: array(ValueType.STRING, tokens),
        Key.TOKEN_TYPES: array(ValueType.INT32, [_NORMAL] * 258 + [_CONTROL] * 2),
        Key.MERGES: array(ValueType.STRING, ["a b", "c d"]),
        "tokenizer.ggml.bos_token_id": uint32(258),
        "tokenizer.ggml.eos_token_id": uint32(258),
    }


def _byte_letters() -> list[str]:
    """Return the printable letter GPT-2's vocabulary uses for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _token_count(metadata: Mapping[str, TypedValue | None]) -> int:
    tokens = metadata[Key.TOKENS]
    assert tokens is not None
    return len(tokens.value)


def _weights(width: int, layers: int, vocabulary_size: int, seed: int) -> dict[str, RawTensor]:
    generator = np.random.default_rng(seed)

    def random(rows: int) -> RawTensor:
        return raw_tensor((generator.standard_normal((rows, width)) * 0.05).astype(np.float32))

    ones = raw_tensor(np.ones(width, np.float32))
    kv_rows = width // HEADS * KV_HEADS
    found = {
        "token_embd.weight": random(vocabulary_size),
        "output_norm.weight": ones,
        "output.weight": random(vocabulary_size),
    }
    for layer in range(layers):
        prefix = f"blk.{layer}."
        found |= {prefix + "attn_norm.weight": ones, prefix + "ffn_norm.weight": ones}
        rows = {"attn_q": width, "attn_k": kv_rows, "attn_v": kv_rows, "attn_output": width}
        rows |= {"ffn_gate": width, "ffn_up": width, "ffn_down": width}
        found |= {f"{prefix}{name}.weight": random(count) for name, count in rows.items()}
    return found
