"""What users type for models: paths, names in the library, adapters and their bases; and where results go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from os import fspath
from pathlib import Path

from localllm.adapters import is_adapter
from localllm.assembly import Recipe
from localllm.bases import adapter_directory, base_of, is_quantized, sixteen_bit_original
from localllm.checkpoint import open_checkpoint
from localllm.errors import NotFoundError, UsageError
from localllm.merge_target import MergeTarget
from localllm.refs import Model
from localllm.store import (
    Resolved,
    model_name,
    output_path,
    resolve_checkpoint,
    resolve_source,
)

_SEPARATORS = ("/", os.sep)


def recipe_of(
    model: Model,
    adapters: Sequence[Model],
    base: Model | None,
    scale: float,
    merge_into: str,
    find: Callable[[str], Resolved] = resolve_checkpoint,
) -> tuple[Recipe, str]:
    """Return what to make a model from, and its name: that of the base, then of the adapters."""
    alone = adapter_at(model)
    if alone is not None:
        found, adapters = base_of_adapter(alone, base), (alone, *adapters)
    else:
        found = find(fspath(model))
    directories = tuple(adapter_directory(fspath(adapter)) for adapter in adapters)
    if scale != 1.0 and not directories:
        raise UsageError("`--scale` needs an adapter to scale", hint="name one with `--adapter DIRECTORY`")
    if directories and found.path.is_file():
        raise UsageError(
            f"an adapter cannot be merged into {found.path}, a GGUF file",
            hint="name the checkpoint directory it was converted from",
        )
    path, as_in_training = _merge_base(found.path, MergeTarget(merge_into), bool(directories))
    name = "-".join((found.name, *(model_name(directory.resolve()) for directory in directories)))
    return Recipe(path, directories, scale, as_in_training), name


def _merge_base(base: Path, target: MergeTarget, has_adapters: bool) -> tuple[Path, bool]:
    """Return the base to merge into, and whether its weights are to be rounded as in QLoRA training."""
    if target is MergeTarget.AUTO:
        return base, False
    if not has_adapters:
        raise UsageError(
            "`--merge-into` needs an adapter to merge", hint="name one with `--adapter DIRECTORY`"
        )
    if target is MergeTarget.SIXTEEN_BIT:
        return sixteen_bit_original(base), False
    return base, not is_quantized(open_checkpoint(base))


def adapter_at(model: Model) -> Path | None:
    """Return the adapter directory that `model` names: a path, or an adapter in the library."""
    try:
        directory = adapter_directory(fspath(model))
    except NotFoundError:
        return None
    return directory if is_adapter(directory) else None


def base_of_adapter(adapter: Path, given: Model | None) -> Resolved:
    if given is not None:
        return resolve_source(fspath(given))
    directory = base_of(adapter)
    return Resolved(model_name(directory.resolve()), directory, None)


def files_from(base: Model | None) -> Path | None:
    """Return the directory to take missing tokenizer files from: a path, or a checkpoint in the library."""
    if base is None:
        return None
    path = Path(base).expanduser()
    return path if path.is_dir() else resolve_source(fspath(base)).path


def target_of(name: str, output: Model | None, level: str) -> Path:
    """Return where the file of `name` goes: `output`, in it when it is a directory, or the library."""
    if output is None:
        return output_path(name, level)
    path = Path(output).expanduser()
    return path / f"{name}-{level}.gguf" if _names_directory(output) else path


def _names_directory(output: Model) -> bool:
    return fspath(output).endswith(_SEPARATORS) or Path(output).expanduser().is_dir()
