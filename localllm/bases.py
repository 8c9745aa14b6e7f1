"""Finds the base model of an adapter, and adapters by name, on this machine and without the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from localllm.adapters import is_adapter
from localllm.adapters.settings import read_settings
from localllm.checkpoint import Checkpoint, is_hub_name, open_checkpoint
from localllm.dequantization import dequantized, unquantized_base
from localllm.errors import NotFoundError, UnsupportedModelError
from localllm.hub.cache import cached_repo
from localllm.store import library_checkpoint, models_directory, shipped_checkpoint

_PASS_BASE = "pass its directory with `--base DIRECTORY`"


def adapter_directory(text: str) -> Path:
    """Return the adapter a path or a name in the library stands for. Raise NotFoundError."""
    path = Path(text).expanduser()
    if path.exists():
        return path
    for directory in (models_directory() / text, shipped_checkpoint(text), *_in_hub_cache(text)):
        if directory is not None and is_adapter(directory):
            return directory
    raise NotFoundError(f"no such adapter: {text}", hint="pass the directory that holds adapter_config.json")


def base_of(adapter: Path) -> Path:
    """Return the base model an adapter names, if it is on this machine. Raise NotFoundError with a hint.

    Looked at are the path as it is written, the library, and the Hugging Face cache.
    """
    name = read_settings(adapter).base
    if name is None:
        raise NotFoundError(
            f"{adapter} does not say which model it belongs to", hint="name the base with `--base DIRECTORY`"
        )
    found = find_base(name, adapter)
    if found is None:
        raise NotFoundError(
            f"the base model of {adapter}, `{name}`, is not on this machine",
            hint=f"`localllm pull {name}` downloads it" if _is_of_hub(name) else _PASS_BASE,
        )
    return found


def sixteen_bit_original(directory: Path) -> Path:
    """Return the 16-bit model a quantized checkpoint was made from; one not quantized is its own original.

    Raise NotFoundError when that is not on this machine.
    """
    checkpoint = open_checkpoint(directory)
    if not is_quantized(checkpoint):
        return directory
    name = unquantized_base(checkpoint)
    found = find_base(name, directory) if name else None
    if found is None:
        original = (
            f"the 16-bit original of {directory}, `{name}`," if name else f"the original of {directory}"
        )
        raise NotFoundError(
            f"{original} is not on this machine",
            hint=f"`localllm pull {name}`, then name it as the base" if _is_of_hub(name) else _PASS_BASE,
        )
    return found


def is_quantized(checkpoint: Checkpoint) -> bool:
    """Tell whether the weights of a checkpoint are quantized, with whatever method."""
    try:
        return any(tensor.is_derived for tensor in dequantized(checkpoint).tensors.values())
    except UnsupportedModelError:
        return True


def find_base(name: str, beside: Path) -> Path | None:
    """Return the directory of the checkpoint called `name`: a path, in the library, or in the hub's cache."""
    places = (*_paths(name, beside), *_in_library(name), *_in_hub_cache(name))
    return next((place for place in places if (place / "config.json").is_file()), None)


def _is_of_hub(name: str | None) -> bool:
    return name is not None and "/" in name and is_hub_name(name)


def _paths(name: str, beside: Path) -> Iterator[Path]:
    yield Path(name).expanduser()
    yield beside / name


def _in_library(name: str) -> Iterator[Path]:
    found = library_checkpoint(name.replace("\\", "/").rstrip("/").rpartition("/")[2])
    if found:
        yield found


def _in_hub_cache(name: str) -> Iterator[Path]:
    """Yield the snapshots of a hub repository, the one the main branch was at first."""
    if not is_hub_name(name):
        return
    cached = cached_repo(name)
    commits = cached.commits()
    yield from (cached.snapshot(commit) for commit in sorted(commits, key=cached.commit().__ne__))
