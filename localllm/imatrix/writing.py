"""Writes importance matrices as GGUF files, byte for byte as llama-imatrix does.

Two F32 tensors per weight, sorted by name: `NAME.in_sum2`, the sums, one row for each count, and
`NAME.counts`, shape (1, matrices). Source: IMatrixCollector::save_imatrix in tools/imatrix/imatrix.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from localllm.errors import ImportanceMatrixError
from localllm.gguf_file import GGUFWriter, TensorEntry
from localllm.gguf_file.format import MAX_NAME_BYTES, TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.writer import array, string, uint32
from localllm.native.activations import InputSums

DATASETS = "imatrix.datasets"
CHUNK_COUNT = "imatrix.chunk_count"
CHUNK_SIZE = "imatrix.chunk_size"
SUMS = ".in_sum2"
COUNTS = ".counts"
TYPE = "imatrix"


def write_imatrix(
    path: Path, inputs: Mapping[str, InputSums], *, datasets: Sequence[str], chunks: int, chunk_size: int
) -> None:
    """Write `inputs` to `path`, a part file; they were measured on `chunks` of `chunk_size` tokens.

    Raise ImportanceMatrixError when a weight's name is too long for the format.
    """
    metadata = {
        Key.TYPE: string(TYPE),
        DATASETS: array(ValueType.STRING, datasets),
        CHUNK_COUNT: uint32(chunks),
        CHUNK_SIZE: uint32(chunk_size),
    }
    names = sorted(inputs, key=str.encode)
    with path.open("wb") as file:
        writer = GGUFWriter(
            file, metadata, [entry for name in names for entry in _tensors(name, inputs[name])]
        )
        for name in names:
            writer.write_tensor(name + SUMS, [inputs[name].sums.astype("<f4").tobytes()])
            writer.write_tensor(name + COUNTS, [inputs[name].counts.astype("<f4").tobytes()])
        writer.finish()


def _tensors(name: str, inputs: InputSums) -> tuple[TensorEntry, TensorEntry]:
    if len((name + SUMS).encode()) > MAX_NAME_BYTES:
        raise ImportanceMatrixError(f"the name `{name}` is too long for an importance matrix")
    matrices, kind = len(inputs.counts), TENSOR_TYPES_BY_NAME["F32"]
    rows = (matrices,) if matrices > 1 else ()  # ggml leaves out dimensions of 1 at the end
    return (
        TensorEntry(name + SUMS, (inputs.sums.size // matrices, *rows), kind),
        TensorEntry(name + COUNTS, (1, *rows), kind),
    )
