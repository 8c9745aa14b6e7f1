"""From a checkpoint, a recipe or a GGUF file to quantized files, and to something that runs.

The converter is imported only where a checkpoint is: it takes as long as everything else together.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localllm.assembly import Recipe
from localllm.conversion.out_type import OutType
from localllm.errors import UsageError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.format import Key
from localllm.imatrix.collect import ImatrixResult, collect_imatrix
from localllm.publication import translated_errors
from localllm.quantization.gguf_source import gguf_source
from localllm.quantization.levels import Level, parse_levels
from localllm.quantization.quantize import QuantizationResult, plan_quantization, quantize
from localllm.quantization.source import QuantizationSource
from localllm.quantization.up_to_date import input_files, is_younger
from localllm.store import PREFERRED_LEVEL, Resolved, output_path

_DEMO_LEVEL = "Q8_0"  # a model this small deserves all its bits
_SCRATCH = ".convert-"


def open_source(
    recipe: Recipe,
    *,
    name: str | None = None,
    base: Path | None = None,
    pre: str | None = None,
    keep_mtp: bool = False,
    emit: Emit = ignore,
) -> QuantizationSource:
    """Return what `recipe` makes, to be quantized; its base may also be a GGUF file.

    `name` replaces the one a checkpoint has, `base` is where tokenizer files that it lacks are taken from,
    `pre` overrides the recognised pre-tokenizer, `keep_mtp` keeps layers for multi-token prediction. Raise
    UsageError for the latter three beside a GGUF file, and what `gguf_source` or `checkpoint_source` raise.
    """
    if recipe.base.is_file():
        _refuse_for_file(recipe.base, base, pre, keep_mtp)
        return gguf_source(recipe.base)
    from localllm.quantization.checkpoint_source import checkpoint_source  # with the whole converter

    return checkpoint_source(recipe, name=name, base=base, pre=pre, keep_mtp=keep_mtp, emit=emit)


def _refuse_for_file(path: Path, base: Path | None, pre: str | None, keep_mtp: bool) -> None:
    """Raise UsageError for what only a checkpoint can be given: a GGUF file has its tokenizer."""
    if pre is not None:
        raise UsageError(
            f"`--pre` is for checkpoints, and {path} is a GGUF file",
            hint=f"to overrule what it says: `--override-kv {Key.TOKENIZER_PRE}=str:{pre}`",
        )
    if base is not None:
        raise UsageError(
            f"`--base` is for checkpoints and adapters, and {path} is a GGUF file", hint="leave it out"
        )
    if keep_mtp:
        raise UsageError(
            f"`--keep-mtp` is for checkpoints, and {path} is a GGUF file",
            hint="leave it out: what layers a file has are quantized with it",
        )


def quantize_model(
    source: Path, targets: Sequence[tuple[Level, Path]], *, emit: Emit = ignore
) -> list[QuantizationResult]:
    """Make every (level, path) of `targets` from a GGUF file or a checkpoint directory."""
    plan = plan_quantization(open_source(Recipe(source), emit=emit), targets, emit=emit)
    return quantize(plan, emit=emit)


def collect_from(
    recipe: Recipe,
    texts: Sequence[tuple[str, str]],
    *,
    output: Path,
    name: str | None = None,
    base: Path | None = None,
    pre: str | None = None,
    emit: Emit = ignore,
    **options: Any,
) -> ImatrixResult:
    """Collect an importance matrix of what `recipe` makes, from (name, text) pairs, to `output`.

    `options` are those of `collect_imatrix`. A checkpoint is converted for it to a Q8_0 file, half the size
    of its weights and removed afterwards: activations hardly tell it from the original.
    """
    if recipe.base.is_file():
        return collect_imatrix(recipe.base, texts, output=output, emit=emit, **options)
    from localllm.conversion.convert import convert

    with _scratch_directory(output.parent) as scratch:
        target = scratch / f"{recipe.base.resolve().name}.gguf"
        made = convert(recipe, output=target, out_type=OutType.Q8_0, name=name, pre=pre, base=base, emit=emit)
        return collect_imatrix(made.path, texts, output=output, emit=emit, **options)


def runnable_file(resolved: Resolved, *, emit: Emit = ignore) -> Path:
    """Return a GGUF file for what a reference resolved to.

    A checkpoint is quantized into the library first, unless that was done since it last changed.
    """
    if not resolved.is_checkpoint:
        return resolved.path
    wanted = resolved.level or (_DEMO_LEVEL if resolved.name == "demo" else PREFERRED_LEVEL)
    level = parse_levels([wanted])[0]
    target = output_path(resolved.name, level.name)
    if not (target.is_file() and is_younger(target, input_files([resolved.path]))):
        emit(Notice(f"making {target.name} from the checkpoint {resolved.path}"))
        quantize_model(resolved.path, [(level, target)], emit=emit)
    return target


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
    import psutil

    for path in place.glob(f"{_SCRATCH}*"):
        pid = path.name.removeprefix(_SCRATCH)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
