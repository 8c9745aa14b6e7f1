"""A GGUF file with a model's metadata and no weights: enough for llama.cpp to tokenize with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localllm.gguf_file.writer import GGUFWriter, Metadata, TensorEntry
from localllm.publication import temporary_directory, translated_errors


@contextmanager
def vocabulary_file(metadata: Metadata) -> Iterator[Path]:
    """Yield the path of a temporary file that holds `metadata` alone. Raise StorageError without room."""
    with temporary_directory() as folder:
        path = folder / "vocabulary.gguf"
        with translated_errors(path), path.open("wb") as file:
            GGUFWriter(file, metadata, ()).finish()
        yield path


@contextmanager
def weightless_file(metadata: Metadata, entries: Iterable[TensorEntry]) -> Iterator[Path | None]:
    """Yield the path of a temporary file whose tensors are nothing but holes.

    None where the file system cannot have a file that large with so little in it.
    """
    with temporary_directory() as folder:
        path = folder / "model.gguf"
        try:
            with path.open("wb") as file:
                file.truncate(GGUFWriter(file, metadata, entries).total_bytes)
        except OSError:
            yield None
            return
        yield path
