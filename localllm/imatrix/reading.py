"""Reads importance matrices, whatever is in the file: bounded, and with one line for everything wrong.

The rules are those of llama-quantize (common/imatrix-loader.cpp of llama.cpp), which dies of some of what
is refused here. The old format (`legacy`) is recognised by not being GGUF.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localllm.errors import ImportanceMatrixError, InvalidGGUFError
from localllm.gguf_file import FileSource, GGUFHeader, TensorInfo, read_header
from localllm.gguf_file.format import MAGIC, ValueType
from localllm.imatrix.checks import read_floats, require_memory, unusable
from localllm.imatrix.legacy import read_legacy
from localllm.imatrix.matrix import ImportanceMatrix, mean_squares
from localllm.imatrix.writing import CHUNK_COUNT, CHUNK_SIZE, COUNTS, DATASETS, SUMS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST_COUNT = 2**62


def read_imatrix(path: Path) -> ImportanceMatrix:
    """Read an importance matrix in GGUF format or the older one, and check it.

    Raise NotFoundError when there is no such file and ImportanceMatrixError for everything else.
    """
    try:
        file = FileSource(path)
    except InvalidGGUFError as error:  # a directory, a device, or not to be opened
        raise ImportanceMatrixError(error.message, hint=error.hint) from None
    try:
        if file.read_at(0, len(MAGIC)) == MAGIC:
            return _read_gguf(file)
        return read_legacy(file)
    finally:
        file.close()


def _read_gguf(file: FileSource) -> ImportanceMatrix:
    try:
        header = read_header(file)
    except InvalidGGUFError as error:
        raise unusable(file, error.message.removeprefix(f"{file.label}: ")) from None
    datasets, chunks, chunk_size = _provenance(file, header)
    pairs = _pairs(file, header)
    require_memory(file, sum(sums.size_bytes + counts.size_bytes for sums, counts in pairs.values()))
    entries = {name: _entry(file, header, name, *pair) for name, pair in pairs.items()}
    return ImportanceMatrix(entries, datasets, chunks, chunk_size)


def _provenance(file: FileSource, header: GGUFHeader) -> tuple[tuple[str, ...], int, int]:
    """Return datasets, number of chunks and their size, all of which must be there."""
    datasets, chunks, size = header.array(DATASETS), header.integer(CHUNK_COUNT), header.integer(CHUNK_SIZE)
    if datasets is None or datasets.item_type is not ValueType.STRING or chunks is None or size is None:
        if header.architecture:
            hint = f"make one of it with `localllm imatrix {file.label}`"
            raise unusable(file, "it is a model, not an importance matrix", hint=hint)
        raise unusable(file, f"it lacks `{DATASETS}`, `{CHUNK_COUNT}` or `{CHUNK_SIZE}`")
    return tuple(map(str, datasets.decode())), max(0, chunks), max(0, size)


def _pairs(file: FileSource, header: GGUFHeader) -> dict[str, tuple[TensorInfo, TensorInfo]]:
    """Return the two tensors of each weight, the sums and the counts, by its name; others are ignored."""
    sums, counts = (
        {
            tensor.name.removesuffix(suffix): tensor
            for tensor in header.tensors
            if tensor.name.endswith(suffix)
        }
        for suffix in (SUMS, COUNTS)
    )
    for name in sorted(sums.keys() ^ counts.keys()):
        raise unusable(file, f"`{name}` has {'no counts' if name in sums else 'counts but no sums'}")
    if not sums:
        raise unusable(file, "it has no entries")
    return {name: (sums[name], counts[name]) for name in sorted(sums)}


def _entry(
    file: FileSource, header: GGUFHeader, name: str, sums: TensorInfo, counts: TensorInfo
) -> NDArray[np.float32]:
    """Return the mean squares of one weight, shape (matrices, columns).

    One count holds for all rows of the sums; several cut them into as many matrices.
    """
    import numpy as np

    numbers, divisors = (_numbers(file, header, tensor) for tensor in (sums, counts))
    if not len(divisors) or not len(numbers) or len(numbers) % len(divisors):
        raise unusable(file, f"`{name}` has {len(numbers)} sums for {len(divisors)} counts")
    if divisors.max() > _LARGEST_COUNT:
        raise unusable(file, f"`{name}` has an impossible count")
    rounded = np.floor(divisors.astype(np.float64) + 0.5).astype(np.int64)  # as C's lround
    columns = sums.shape[0] if len(divisors) == 1 else len(numbers) // len(divisors)
    return mean_squares(numbers.reshape(-1, columns), rounded)


def _numbers(file: FileSource, header: GGUFHeader, tensor: TensorInfo) -> NDArray[np.float32]:
    if tensor.type.name != "F32":
        raise unusable(file, f"`{tensor.name}` is of type {tensor.type.name} instead of F32")
    return read_floats(file, header.data_offset + tensor.offset, tensor.parameters, tensor.name)
