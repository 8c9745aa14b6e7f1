"""Describes a GGUF file from its header alone: no weights are read, llama.cpp is not involved."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.errors import NotFoundError
from localllm.gguf_file import ArrayValue, GGUFHeader, read_header
from localllm.gguf_file.format import FILE_TYPES, Key
from localllm.memory import cache_bytes, context_of
from localllm.quantization.contents import bits_per_weight, count_misfits


@dataclass(frozen=True)
class TypeShare:
    """How many tensors, weights and bytes are stored in one type."""

    type: str
    tensors: int
    parameters: int
    size_bytes: int


@dataclass(frozen=True)
class TensorDescription:
    """One tensor; `shape` in ggml order (row length first), `offset` from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type: str
    size_bytes: int
    offset: int


@dataclass(frozen=True)
class ModelDescription:
    """What a GGUF file says about itself, and what its tensors say about it."""

    path: str
    name: str
    architecture: str
    level: str
    size_bytes: int
    parameters: int
    bits_per_weight: float
    context_length: int | None
    embedding_length: int | None
    layers: int | None
    heads: int | None
    kv_heads: int | None
    vocabulary_size: int | None
    tokenizer: str
    pre_tokenizer: str
    chat_template: str
    licence: str
    types: tuple[TypeShare, ...]
    cache_bytes: int | None
    cache_context: int | None
    problems: tuple[str, ...]


def inspect(path: Path) -> ModelDescription:
    """Describe the GGUF file at `path`. Raise NotFoundError or InvalidGGUFError."""
    return describe(read_header(path), str(path))


def describe(header: GGUFHeader, label: str) -> ModelDescription:
    """Describe a header that was read from `label`."""
    tokens = header.array(Key.TOKENS)
    context = header.architecture_integer("context_length")
    cache_context = context_of(header) if context else None
    return ModelDescription(
        path=label,
        name=header.text(Key.NAME),
        architecture=header.architecture,
        level=_level(header),
        size_bytes=header.file_size_bytes,
        parameters=header.parameters,
        bits_per_weight=bits_per_weight(header),
        context_length=context,
        embedding_length=header.architecture_integer("embedding_length"),
        layers=header.architecture_integer("block_count"),
        heads=header.architecture_integer("attention.head_count"),
        kv_heads=header.architecture_integer("attention.head_count_kv"),
        vocabulary_size=len(tokens) if tokens is not None else None,
        tokenizer=header.text(Key.TOKENIZER_MODEL),
        pre_tokenizer=header.text(Key.TOKENIZER_PRE),
        chat_template=header.text(Key.CHAT_TEMPLATE),
        licence=header.text("general.license"),
        types=_type_shares(header),
        cache_bytes=cache_bytes(header, cache_context) if cache_context else None,
        cache_context=cache_context,
        problems=tuple(_problems(header)),
    )


def tensor_descriptions(path: Path) -> list[TensorDescription]:
    """List the tensors of the GGUF file at `path` in file order."""
    header = read_header(path)
    return [
        TensorDescription(t.name, t.shape, t.type.name, t.size_bytes, header.data_offset + t.offset)
        for t in header.tensors
    ]


def metadata_values(path: Path, key: str | None = None) -> dict[str, Any]:
    """Return the metadata of the GGUF file at `path`; arrays are decoded only when `key` asks for one."""
    header = read_header(path)
    if key is None:
        return {name: _summary(value) for name, value in header.metadata.items()}
    value = header.metadata.get(key)
    if value is None:
        near = difflib.get_close_matches(key, list(header.metadata), n=1)
        raise NotFoundError(
            f"{path} has no metadata `{key}`",
            hint=f"did you mean `{near[0]}`?" if near else "`--kv` lists all of it",
        )
    return {key: value.decode() if isinstance(value, ArrayValue) else value}


def _summary(value: Any) -> Any:
    if isinstance(value, ArrayValue):
        return f"[{len(value)} x {value.item_type.name.lower()}]"
    return value


def _level(header: GGUFHeader) -> str:
    code = header.integer(Key.FILE_TYPE)
    return "" if code is None else FILE_TYPES.get(code, f"file type {code}")


def _type_shares(header: GGUFHeader) -> tuple[TypeShare, ...]:
    shares: dict[str, TypeShare] = {}
    for tensor in header.tensors:
        name = tensor.type.name
        old = shares.get(name, TypeShare(name, 0, 0, 0))
        shares[name] = TypeShare(
            name, old.tensors + 1, old.parameters + tensor.parameters, old.size_bytes + tensor.size_bytes
        )
    return tuple(sorted(shares.values(), key=lambda share: -share.size_bytes))


def _problems(header: GGUFHeader) -> list[str]:
    """List what a user should know before relying on the file."""
    problems = []
    number, count = header.integer(Key.SPLIT_NUMBER), header.integer(Key.SPLIT_COUNT)
    if number is not None and count is not None and count > 1:
        problems.append(f"file {number + 1} of {count} of a split model: what is counted is this file's")
    if number:
        return problems
    if header.tensors and not header.text(Key.CHAT_TEMPLATE):
        problems.append("no chat template: chat runs as plain completion")
    misfits = count_misfits(header)
    if misfits:
        problems.append(f"{misfits} tensors do not fit the level's block and are stored in another type")
    if header.tensors and header.array(Key.TOKENS) is None:
        problems.append("no vocabulary")
    return problems
