"""Adapters to run a model with: GGUF files as they are, PEFT directories converted once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from localllm.adapters import is_adapter
from localllm.bases import adapter_directory, base_of
from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit, Notice
from localllm.store import Resolved, models_directory

_KEPT_VERSION = 1  # of the converter: what was made by another is made again
_CHUNK_BYTES = 1024 * 1024

Scaled = tuple[Path, float]


def runnable_adapters(adapters: Sequence[Scaled], model: Resolved, *, emit: Emit) -> tuple[Scaled, ...]:
    """Return GGUF files, with their scales, for adapters to be used beside `model`.

    An adapter is a GGUF file, a PEFT directory or the name of one in the library. Directories are converted
    for the checkpoint that `model` is, else for the base they name, and kept below `$LOCALLLM_HOME/cache`
    under their content. Raise NotFoundError, UsageError and what `convert_adapter` raises.
    """
    return tuple((_runnable(path, model, emit), scale) for path, scale in adapters)


def _runnable(path: Path, model: Resolved, emit: Emit) -> Path:
    found = adapter_directory(str(path))
    if found.is_file():
        return found
    if not is_adapter(found):
        raise UsageError(
            f"{found} is no adapter: it has no adapter_config.json",
            hint="name a GGUF adapter or a PEFT directory",
        )
    base = _base_for(found, model)
    target = models_directory().parent / "cache" / "adapters" / f"{_content_key(found, base)}.gguf"
    if not target.is_file():
        from localllm.conversion.lora import convert_adapter  # with the whole converter

        emit(Notice(f"converting the adapter {found}", topic="adapter-converted"))
        convert_adapter(found, base, output=target, emit=emit)
    return target


def _base_for(adapter: Path, model: Resolved) -> Path:
    """Return a directory with the config.json of the model that the adapter was trained on."""
    if model.is_checkpoint:
        return model.path
    try:
        return base_of(adapter)
    except NotFoundError as error:
        raise NotFoundError(
            f"{error.message}; its configuration is needed to use {adapter} beside {model.path.name}",
            hint=f"convert it once: `localllm convert {adapter} --base DIRECTORY`, and name the file",
        ) from None


def _content_key(adapter: Path, base: Path) -> str:
    """Return a name that changes with everything the conversion depends on."""
    digest = hashlib.sha256(f"{_KEPT_VERSION}".encode())
    for path in (base / "config.json", *sorted(adapter.iterdir())):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".bin"):
            digest.update(f"\0{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()[:32]
