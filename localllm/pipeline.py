"""From a checkpoint or a GGUF file to quantized files, without leaving a 16-bit file behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from localllm.assembly import Recipe
from localllm.conversion.convert import convert
from localllm.events import Emit, Notice, ignore
from localllm.publication import translated_errors
from localllm.quantization import Level, QuantizationResult, parse_levels, quantize
from localllm.store import PREFERRED_LEVEL, Resolved, output_path

_DEMO_LEVEL = "Q8_0"  # a model this small deserves all its bits
_SCRATCH = ".convert-"


def quantize_model(
    source: Path | Recipe,
    targets: Sequence[tuple[Level, Path]],
    *,
    name: str | None = None,
    base: Path | None = None,
    pre: str | None = None,
    threads: int | None = None,
    emit: Emit = ignore,
) -> list[QuantizationResult]:
    """Make every (level, path) of `targets` from a GGUF file, a checkpoint directory or a recipe.

    A checkpoint is converted once, to a file beside the first target that is removed afterwards. `name`
    replaces the one it finds for the model, `base` is where tokenizer files that it lacks are taken from,
    `pre` overrides the recognised pre-tokenizer.
    """
    recipe = source if isinstance(source, Recipe) else Recipe(source)
    if recipe.base.is_file():
        return quantize(recipe.base, targets, threads=threads, emit=emit)
    with _scratch_directory(targets[0][1].parent) as scratch:
        target = scratch / f"{recipe.base.resolve().name}.gguf"
        converted = convert(recipe, output=target, name=name, pre=pre, base=base, emit=emit)
        return quantize(converted.path, targets, threads=threads, emit=emit)


def runnable_file(resolved: Resolved, *, emit: Emit = ignore) -> Path:
    """Return a GGUF file for what a reference resolved to.

    A checkpoint is quantized into the library first, unless that was done since it last changed.
    """
    if not resolved.is_checkpoint:
        return resolved.path
    wanted = resolved.level or (_DEMO_LEVEL if resolved.name == "demo" else PREFERRED_LEVEL)
    level = parse_levels([wanted])[0]
    target = output_path(resolved.name, level.name)
    if not _is_newer(target, resolved.path):
        emit(Notice(f"making {target.name} from the checkpoint {resolved.path}"))
        quantize_model(resolved.path, [(level, target)], emit=emit)
    return target


def _is_newer(target: Path, checkpoint: Path) -> bool:
    """Tell whether `target` exists and was made after the checkpoint's files last changed."""
    if not target.is_file():
        return False
    sources = [path for path in checkpoint.iterdir() if path.suffix in (".json", ".safetensors", ".jinja")]
    return target.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


@contextmanager
def _scratch_directory(parent: Path) -> Iterator[Path]:
    """Yield a hidden directory in the nearest existing place to `parent`; remove it afterwards."""
    place = next(path for path in (parent, *parent.parents) if path.is_dir())
    _remove_stale_scratch(place)
    scratch = place / f"{_SCRATCH}{os.getpid()}"
    with translated_errors(scratch):
        scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_stale_scratch(place: Path) -> None:
    for path in place.glob(f"{_SCRATCH}*"):
        pid = path.name.removeprefix(_SCRATCH)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
