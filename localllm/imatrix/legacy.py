"""Reads importance matrices in the format before GGUF (`.dat`), in which every length is checked.

int32 number of entries; for each: int32 length of the name, the name, int32 calls, int32 number of values,
float32 values (the means, times calls). Newer files go on: int32 chunks, int32 length, name of the dataset.
Little endian. Source: common/imatrix-loader.cpp of llama.cpp.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from localllm.gguf_file import FileSource
from localllm.gguf_file.format import MAX_NAME_BYTES
from localllm.imatrix.checks import read_floats, require_memory, unusable
from localllm.imatrix.matrix import ImportanceMatrix, mean_squares

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SMALLEST_ENTRY_BYTES = 4 + 1 + 4 + 4 + 4


def read_legacy(file: FileSource) -> ImportanceMatrix:
    """Read a file in the old format; raise ImportanceMatrixError for everything that is wrong with it."""
    reader = _Reader(file)
    count = reader.integer("the number of entries")
    if not 1 <= count <= file.size_bytes // _SMALLEST_ENTRY_BYTES:
        raise unusable(file, "it is no importance matrix, in GGUF or the older format")
    require_memory(file, file.size_bytes)
    entries: dict[str, NDArray[np.float32]] = {}
    for _ in range(count):
        name = reader.name()
        if name in entries:
            raise unusable(file, f"`{name}` appears twice")
        entries[name] = reader.means(name)
    if reader.at_end:
        return ImportanceMatrix(entries, (), 0, 0)
    chunks = reader.integer("the number of chunks")
    dataset = reader.text("the dataset", file.size_bytes)
    return ImportanceMatrix(entries, (dataset,) if dataset else (), max(0, chunks), 0)


class _Reader:
    """Walks over the file; nothing is read before it is known to be there."""

    def __init__(self, file: FileSource) -> None:
        self._file = file
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position == self._file.size_bytes

    def integer(self, what: str) -> int:
        return int(struct.unpack("<i", self._take(4, what))[0])

    def text(self, what: str, limit: int) -> str:
        length = self.integer(f"the length of {what}")
        if not 0 <= length <= limit:
            raise unusable(self._file, f"{what} is {length} bytes long")
        return self._take(length, what).decode("utf-8", "replace")

    def name(self) -> str:
        name = self.text("the name of an entry", MAX_NAME_BYTES)
        if not name.isprintable() or not name:
            raise unusable(self._file, "an entry has no readable name")
        return name

    def means(self, name: str) -> NDArray[np.float32]:
        """Return the mean squares of an entry, shape (1, values)."""
        import numpy as np

        calls, count = self.integer(f"`{name}`"), self.integer(f"`{name}`")
        if count < 1:
            raise unusable(self._file, f"`{name}` has {count} values")
        start = self._position
        self._require(4 * count, f"`{name}`")
        self._position += 4 * count
        values = read_floats(self._file, start, count, name)[None, :]
        return mean_squares(values, np.array([calls if calls > 0 else 1]))

    def _take(self, size: int, what: str) -> bytes:
        self._require(size, what)
        self._position += size
        return self._file.read_at(self._position - size, size)

    def _require(self, size: int, what: str) -> None:
        if self._position + size > self._file.size_bytes:
            raise unusable(self._file, f"the file is truncated inside {what}")
