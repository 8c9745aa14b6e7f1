"""Finds out what a path is, by what it begins with, and opens it to be inspected."""

from __future__ import annotations

from pathlib import Path

from localllm.errors import InvalidGGUFError, NotFoundError
from localllm.events import Emit, ignore
from localllm.gguf_file import FileSource
from localllm.gguf_file.format import MAGIC, MAX_NAME_BYTES
from localllm.inspection.description import ModelDescription
from localllm.inspection.gguf_subject import GGUFSubject
from localllm.inspection.header_set import HeaderFile, join_headers, read_headers
from localllm.inspection.pipe import LABEL, read_piped_header
from localllm.inspection.subject import Subject

_CONFIG = "config.json"
_ADAPTER_CONFIG = "adapter_config.json"
_SNIFFED_BYTES = 128
_POINTER = b"version https://git-lfs"
_SAFETENSORS = ".safetensors"
_LEGACY_SUFFIXES = (".dat", ".imatrix")
_MAX_ENTRIES = 100_000


def inspect(path: Path, *, emit: Emit = ignore) -> ModelDescription:
    """Describe a GGUF or safetensors file, a checkpoint, an adapter or an importance matrix.

    Raise NotFoundError, InvalidGGUFError, CheckpointError or ImportanceMatrixError.
    """
    return open_subject(path).describe(emit)


def open_subject(path: Path) -> Subject:
    """Open a file or directory. Raise NotFoundError, InvalidGGUFError or CheckpointError.

    A file is taken for what it begins with, then for what its name says.
    """
    if path.is_dir():
        return _directory(path)
    beginning = _beginning(path)
    if beginning.startswith(_POINTER):
        raise InvalidGGUFError(
            f"{path} is a Git LFS pointer, not the file itself",
            hint="run `git lfs pull` in its directory, or download the file",
        )
    if beginning.startswith(MAGIC):
        return GGUFSubject(read_headers(path))
    if beginning[8:9] == b"{" or path.suffix == _SAFETENSORS:
        from localllm.inspection.file_subjects import SafetensorsSubject

        return SafetensorsSubject(path)
    if _is_legacy_imatrix(path, beginning):
        from localllm.inspection.file_subjects import LegacyImatrixSubject

        return LegacyImatrixSubject(path)
    return GGUFSubject(read_headers(path))  # which says what is wrong with it


def open_piped_subject() -> Subject:
    """Open the GGUF file that comes through standard input. Raise InvalidGGUFError or UsageError."""
    return GGUFSubject(join_headers(LABEL, [HeaderFile(LABEL, read_piped_header())]))


def _directory(path: Path) -> Subject:
    if (path / _CONFIG).is_file():
        from localllm.inspection.checkpoint_subject import CheckpointSubject  # with the whole converter

        return CheckpointSubject(path)
    if (path / _ADAPTER_CONFIG).is_file():
        from localllm.inspection.adapter_subject import AdapterSubject

        return AdapterSubject(path)
    raise NotFoundError(
        f"{path} holds neither GGUF files nor a checkpoint",
        hint="name a .gguf or .safetensors file, or a directory with config.json or adapter_config.json",
    )


def _beginning(path: Path) -> bytes:
    file = FileSource(path)
    try:
        return file.read_at(0, _SNIFFED_BYTES)
    finally:
        file.close()


def _is_legacy_imatrix(path: Path, beginning: bytes) -> bool:
    """Tell whether a file may be an importance matrix in the older format: one entry after the other."""
    entries, length = (int.from_bytes(beginning[at : at + 4], "little") for at in (0, 4))
    name = beginning[8 : 8 + length]
    is_one = 0 < entries < _MAX_ENTRIES and 0 < length <= MAX_NAME_BYTES and name.endswith(b".weight")
    return is_one or path.suffix in _LEGACY_SUFFIXES
