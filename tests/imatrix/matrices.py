"""Importance matrix files made by hand, good and hostile, independent of the writer."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, array, string, uint32
from tests.tiny_gguf import RawTensor, raw_tensor, write_gguf

WEIGHT = "blk.0.ffn_down.weight"


def imatrix_metadata(**changes: TypedValue | None) -> dict[str, TypedValue]:
    """Return the metadata of a good file; `changes` replace `imatrix.NAME`, None removes it."""
    metadata: dict[str, TypedValue | None] = {
        "general.type": string("imatrix"),
        "imatrix.datasets": array(ValueType.STRING, ["wiki.txt", "code.txt"]),
        "imatrix.chunk_count": uint32(7),
        "imatrix.chunk_size": uint32(512),
    }
    metadata |= {f"imatrix.{name}": value for name, value in changes.items()}
    return {name: value for name, value in metadata.items() if value is not None}


def floats(values: Any) -> RawTensor:
    """Return an F32 tensor; numpy's shape, which is ggml's reversed."""
    return raw_tensor(np.asarray(values, np.float32))


def write_matrix(
    path: Path,
    sums: Any = ((1.0, 4.0, 9.0),),
    counts: Any = ((2.0,),),
    *,
    name: str = WEIGHT,
    metadata: Mapping[str, TypedValue] | None = None,
    tensors: Mapping[str, RawTensor] | None = None,
) -> Path:
    """Write a file with one entry, or with `tensors`; return its path."""
    own = {f"{name}.in_sum2": floats(sums), f"{name}.counts": floats(counts)}
    write_gguf(
        path, imatrix_metadata() if metadata is None else metadata, own if tensors is None else tensors
    )
    return path


def legacy_entry(name: str | bytes, calls: int, values: Sequence[float]) -> bytes:
    encoded = name.encode() if isinstance(name, str) else name
    head = struct.pack("<i", len(encoded)) + encoded + struct.pack("<ii", calls, len(values))
    return head + struct.pack(f"<{len(values)}f", *values)


def legacy_file(
    entries: Mapping[str, tuple[int, Sequence[float]]], chunks: int | None = 3, dataset: str = "wiki.txt"
) -> bytes:
    """Return a file in the old format; without `chunks` it ends behind the entries."""
    data = struct.pack("<i", len(entries))
    data += b"".join(legacy_entry(name, calls, values) for name, (calls, values) in entries.items())
    if chunks is not None:
        data += struct.pack("<ii", chunks, len(dataset.encode())) + dataset.encode()
    return data
