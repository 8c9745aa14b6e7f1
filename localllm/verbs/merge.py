"""`merge`: adapters into their base, as a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localllm import merging
from localllm.events import Emit, ignore
from localllm.merge_target import MergeTarget
from localllm.merging import MergeResult
from localllm.refs import Model
from localllm.store import (
    models_directory,
)
from localllm.verbs.pull import have
from localllm.verbs.records import record_made
from localllm.verbs.references import recipe_of


def merge(
    base: Model,
    adapters: Sequence[Model],
    *,
    output: Model | None = None,
    scale: float = 1.0,
    merge_into: str = MergeTarget.AUTO,
    emit: Emit = ignore,
) -> MergeResult:
    """Write a checkpoint directory with `adapters` merged into `base`, at `scale` times their own.

    `merge_into` is auto, 16bit or dequantized: see `MergeTarget`.
    """
    have(base, *adapters, weights=True, emit=emit)
    recipe, name = recipe_of(base, adapters, None, scale, merge_into)
    target = Path(output).expanduser() if output else models_directory() / name
    result = merging.merge(recipe, output=target, emit=emit)
    chosen = {"scale": scale if scale != 1.0 else None, "merge_into": merge_into}
    record_made("merge", result.path, recipe.base, adapters=recipe.adapters, options=chosen, emit=emit)
    return result
