"""A GGUF file with a model's metadata and no tensors: enough for llama.cpp to tokenize with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localllm.gguf_file.writer import GGUFWriter, Metadata
from localllm.publication import temporary_directory, translated_errors


@contextmanager
def vocabulary_file(metadata: Metadata) -> Iterator[Path]:
    """Yield the path of a temporary file that holds `metadata` alone. Raise StorageError without room."""
    with temporary_directory() as folder:
        path = folder / "vocabulary.gguf"
        with translated_errors(path), path.open("wb") as file:
            GGUFWriter(file, metadata, ()).finish()
        yield path
