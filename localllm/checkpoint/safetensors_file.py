"""One safetensors file: its header read and validated, or a new one written tensor by tensor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.checkpoint.tensor import DTYPE_BYTES, StoredTensor, Tensor
from localllm.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE_WEIGHTS = 4 * 1024 * 1024


def read_safetensors(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors of one file, sorted by name, without reading their data.

    Raise CheckpointError for a file that is missing, damaged or not to its end on disk.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path.name} is missing from {path.parent}", hint="copy or download the missing shard"
        )
    _validate(path)
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items()):
        begin, end = entry["data_offsets"]
        yield StoredTensor(
            name=name,
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
            path=path,
            offset=8 + header_bytes + begin,
            size_bytes=end - begin,
        )


def write_safetensors(
    path: Path,
    tensors: Iterable[Tensor],
    encode: Callable[[NDArray[Any], Tensor], memoryview],
    done: Callable[[Tensor], None],
) -> None:
    """Write `tensors` in their native dtype, in the order given, in pieces.

    `encode(rows, tensor)` turns what was read into bytes of the native dtype; `done` is told
    of each tensor written.
    """
    ordered = list(tensors)
    with path.open("wb") as file:
        file.write(_header(ordered))
        for tensor in ordered:
            for rows in tensor.read_pieces(_PIECE_WEIGHTS):
                file.write(encode(rows, tensor))
            done(tensor)


def native_bytes(tensor: Tensor) -> int:
    """Return the size of a tensor in a checkpoint."""
    return tensor.rows * tensor.columns * DTYPE_BYTES[tensor.native_dtype]


def _header(tensors: Iterable[Tensor]) -> bytes:
    """Return length and JSON, padded so that the data begins at a multiple of 8."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + native_bytes(tensor)
        entries[tensor.name] = {
            "dtype": tensor.native_dtype,
            "shape": tensor.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _validate(path: Path) -> None:
    """Let the reference implementation check the header: shapes, offsets, overlaps, truncation."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file: {error}",
            hint="it was not copied or downloaded to the end; fetch it again",
        ) from None
