"""The reference's kept predictions on disk: a directory with a header and a file for each chunk of the text.

A chunk's file begins with a line of JSON (version, digest of its tokens, sizes and checksum of what follows),
then come the arrays of `KeptRows`, little-endian. Files are written beside their place and moved there, but
not flushed: what a power cut leaves is told by the checksum and refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.errors import ReferenceStoreError, VocabularyMismatchError
from localllm.evaluation.kept_rows import KeptRows
from localllm.publication import remove_stale_parts_in, replacing, translated_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 1
_HEADER = "reference.json"
_CHUNK = "chunk-{:06}.bin"
_CHUNK_NAME = re.compile(r"chunk-(\d{6})\.bin")
_TYPES = dict(
    zip(
        (field.name for field in fields(KeptRows)),
        ("<f4", "<u4", "<f4", "<f4", "<f4", "<u4", "u1", "<u2"),
        strict=True,
    )
)
_LONGEST_LINE = 4096
_REMADE = "it has to be made anew"


@dataclass(frozen=True)
class ReferenceStore:
    """The store in `directory`, of a model with so many tokens, for chunks of `context_size` tokens."""

    directory: Path
    vocabulary_size: int
    context_size: int

    @classmethod
    def create(cls, directory: Path, vocabulary_size: int, context_size: int) -> ReferenceStore:
        """Return the store in `directory`, which is begun when there is none yet.

        Raise ReferenceStoreError when there is one of another kind, StorageError when it cannot be written.
        """
        store = cls(directory, vocabulary_size, context_size)
        remove_stale_parts_in(directory)
        if (directory / _HEADER).exists():
            store._require_same(cls.open(directory))
            return store
        header = {"version": _VERSION, "vocabulary_size": vocabulary_size, "context_size": context_size}
        with translated_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            with replacing(directory / _HEADER) as part:
                part.write_bytes(json.dumps(header).encode())
        return store

    @classmethod
    def open(cls, directory: Path) -> ReferenceStore:
        """Return the store in `directory`. Raise ReferenceStoreError when there is none that can be read."""
        try:
            header = json.loads((directory / _HEADER).read_bytes())
            if header["version"] != _VERSION:
                raise _refusal(directory, f"is of version {header['version']}, not {_VERSION}")
            store = cls(directory, int(header["vocabulary_size"]), int(header["context_size"]))
        except OSError as error:
            raise _refusal(directory, f"cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise _refusal(directory, "have a damaged header") from None
        if store.vocabulary_size < 1 or store.context_size < 1:
            raise _refusal(directory, "have a damaged header")
        return store

    @property
    def chunks(self) -> list[int]:
        """The numbers of the chunks that are there, in order."""
        names = (_CHUNK_NAME.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(name[1]) for name in names if name)

    @property
    def size_bytes(self) -> int:
        """The size of all its files."""
        return sum(path.stat().st_size for path in self.directory.iterdir())

    def append(self, index: int, tokens: Sequence[int], rows: KeptRows) -> None:
        """Write what is kept of chunk number `index`. Raise StorageError when that fails."""
        data = [_as_bytes(getattr(rows, name), kind) for name, kind in _TYPES.items()]
        line = {
            "version": _VERSION,
            "tokens": _digest(tokens),
            "bytes": [len(part) for part in data],
            "crc32": _checksum(data),
        }
        path = self.directory / _CHUNK.format(index)
        with translated_errors(path), replacing(path) as part, part.open("wb") as file:
            file.writelines([json.dumps(line).encode() + b"\n", *data])

    def read(self, index: int, tokens: Sequence[int]) -> KeptRows:
        """Return what was kept of chunk number `index`, which must be these tokens.

        Raise ReferenceStoreError when it is not there or damaged, VocabularyMismatchError when the tokens are
        others: the model cuts the text differently than the reference.
        """
        path = self.directory / _CHUNK.format(index)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _refusal(path, f"cannot be read: {error.strerror}") from None
        end = data.find(b"\n", 0, _LONGEST_LINE) + 1
        try:
            line = json.loads(data[:end])
            sizes = [int(size) for size in line["bytes"]]
            is_whole = line["crc32"] == zlib.crc32(memoryview(data)[end:]) and line["version"] == _VERSION
        except (ValueError, KeyError, TypeError):
            raise _refusal(path, "are damaged") from None
        if not is_whole or len(sizes) != len(_TYPES) or min(sizes) < 0 or sum(sizes) != len(data) - end:
            raise _refusal(path, "are damaged")
        if line["tokens"] != _digest(tokens):
            raise VocabularyMismatchError(
                "the model cuts the text into other tokens than the reference does",
                hint="compare levels of one model; models with different tokenizers cannot be compared",
            )
        rows = _from_bytes(memoryview(data)[end:], sizes)
        self._require_consistent(path, rows)
        return rows

    def require_vocabulary(self, vocabulary_size: int) -> None:
        """Raise VocabularyMismatchError when a model of this many tokens cannot be compared."""
        if vocabulary_size != self.vocabulary_size:
            raise VocabularyMismatchError(
                f"the model knows {vocabulary_size} tokens, the reference {self.vocabulary_size}",
                hint="compare levels of one model; models with different vocabularies cannot be compared",
            )

    def require_context(self, context_size: int) -> None:
        """Raise ReferenceStoreError when it was made for chunks of another size."""
        if context_size != self.context_size:
            raise _refusal(self.directory, f"are of chunks of {self.context_size} tokens, not {context_size}")

    def _require_same(self, other: ReferenceStore) -> None:
        if other != self:
            raise _refusal(self.directory, "are of another model or another size of chunks")

    def _require_consistent(self, path: Path, rows: KeptRows) -> None:
        """A file with a right checksum may still have been made by somebody else."""
        if not rows.is_consistent:
            raise _refusal(path, "are inconsistent")
        if rows.largest_id >= self.vocabulary_size:
            raise _refusal(path, "name tokens that do not exist")


def _refusal(path: Path, what: str) -> ReferenceStoreError:
    return ReferenceStoreError(f"the stored predictions in {path} {what}", hint=_REMADE)


def _digest(tokens: Sequence[int]) -> str:
    import numpy as np

    return hashlib.sha256(np.asarray(tokens, "<i4").tobytes()).hexdigest()


def _as_bytes(values: NDArray[Any], kind: str) -> bytes:
    return values.astype(kind, copy=False).tobytes()


def _from_bytes(data: memoryview, sizes: Sequence[int]) -> KeptRows:
    import numpy as np

    arrays = []
    begin = 0
    for kind, size in zip(_TYPES.values(), sizes, strict=True):
        width = np.dtype(kind).itemsize
        arrays.append(np.frombuffer(data[begin : begin + size // width * width], kind))
        begin += size
    return KeptRows(*arrays)


def _checksum(parts: Sequence[bytes]) -> int:
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value
