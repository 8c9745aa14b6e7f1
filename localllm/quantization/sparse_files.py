"""Files with a GGUF header and nothing but holes behind it: llama.cpp takes them for the model itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from localllm.gguf_file.split_names import split_paths
from localllm.publication import temporary_directory, translated_errors


@contextmanager
def sparse_files(headers: Sequence[tuple[bytes, int]]) -> Iterator[Path]:
    """Yield the first of the temporary files of one model, each given by its header and its size in bytes."""
    with temporary_directory() as folder:
        paths = split_paths(folder / "model.gguf", len(headers))
        for path, (header, size_bytes) in zip(paths, headers, strict=True):
            with translated_errors(path), path.open("wb") as file:
                file.write(header)
                file.truncate(size_bytes)
        yield paths[0]
