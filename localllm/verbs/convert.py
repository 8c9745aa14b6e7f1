"""`convert` and `check`: from a checkpoint or an adapter to GGUF, or to what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from localllm.conversion import convert as conversion
from localllm.conversion.convert import ConversionResult
from localllm.conversion.examination import Examination, examine, examine_adapter
from localllm.conversion.lora import convert_adapter
from localllm.conversion.out_type import OutType
from localllm.conversion.overrides import read_overrides
from localllm.errors import UsageError
from localllm.events import Emit, ignore
from localllm.library.usage import note_use
from localllm.merge_target import MergeTarget
from localllm.refs import Model
from localllm.store import (
    model_name,
)
from localllm.verbs.pull import have
from localllm.verbs.records import record_made
from localllm.verbs.references import adapter_at, base_of_adapter, files_from, recipe_of, target_of


def convert(
    source: Model,
    *,
    adapters: Sequence[Model] = (),
    base: Model | None = None,
    scale: float = 1.0,
    merge_into: str = MergeTarget.AUTO,
    output: Model | None = None,
    out_type: str = OutType.AUTO,
    name: str | None = None,
    metadata: Path | None = None,
    pre: str | None = None,
    keep_mtp: bool = False,
    split_max_bytes: int | None = None,
    emit: Emit = ignore,
) -> ConversionResult:
    """Convert a checkpoint directory to a GGUF file; `out_type` is auto, f32, f16, bf16 or q8_0.

    `adapters` are merged into it, at `scale` times their own. When `source` is itself an adapter, it
    becomes a GGUF adapter for `base`, by default the base model it names; a checkpoint takes tokenizer
    files that it lacks from `base`. `output` is a file, or a directory when it is one or ends with a
    separator. `metadata` is a JSON file of `general.*` keys. `keep_mtp` keeps layers for multi-token
    prediction. With `split_max_bytes` the model goes into several files of at most about that size, if it is
    larger.
    """
    chosen = OutType(out_type)
    have(source, *adapters, base, weights=True, emit=emit)
    alone = adapter_at(source)
    if alone is not None and not adapters:
        _refuse_merging(scale, merge_into)
        if keep_mtp:
            raise UsageError("`--keep-mtp` is for models, and an adapter has no layers", hint="leave it out")
        if split_max_bytes is not None:
            raise UsageError("an adapter is not split", hint="leave out `--split-max-size`")
        return _convert_adapter(alone, base, output, chosen, name, emit)
    recipe, recipe_name = recipe_of(source, adapters, base, scale, merge_into)
    note_use(recipe.base)
    result = conversion.convert(
        recipe,
        output=partial(target_of, recipe_name, output),
        out_type=chosen,
        name=name or (recipe_name if recipe.adapters else None),
        pre=pre,
        base=None if alone is not None else files_from(base),
        overrides=_overrides(metadata),
        keep_mtp=keep_mtp,
        split_max_bytes=split_max_bytes,
        emit=emit,
    )
    options = {
        "outtype": result.level,
        "pre": pre,
        "scale": scale if scale != 1.0 else None,
        "keep_mtp": keep_mtp or None,
    }
    record_made("convert", result.path, recipe.base, adapters=recipe.adapters, options=options, emit=emit)
    return result


def check(
    source: Model,
    *,
    adapters: Sequence[Model] = (),
    base: Model | None = None,
    scale: float = 1.0,
    merge_into: str = MergeTarget.AUTO,
    out_type: str = OutType.AUTO,
    name: str | None = None,
    metadata: Path | None = None,
    pre: str | None = None,
    keep_mtp: bool = False,
    emit: Emit = ignore,
) -> Examination:
    """Find everything that stops or changes the conversion of `source`, without writing a file.

    The options are those of `convert`. Raise only when `source` is not there at all.
    """
    chosen = OutType(out_type)
    alone = adapter_at(source)
    if alone is not None and not adapters:
        _refuse_merging(scale, merge_into)
        return examine_adapter(alone, lambda: _base_directory(alone, base), chosen, emit)
    recipe, recipe_name = recipe_of(source, adapters, base, scale, merge_into)
    return examine(
        recipe,
        out_type=chosen,
        name=name or (recipe_name if recipe.adapters else None),
        pre=pre,
        base=None if alone is not None else files_from(base),
        overrides=_overrides(metadata),
        keep_mtp=keep_mtp,
        emit=emit,
    )


def _convert_adapter(
    adapter: Path, base: Model | None, output: Model | None, out_type: OutType, name: str | None, emit: Emit
) -> ConversionResult:
    directory = _base_directory(adapter, base)
    label = "F32" if out_type is OutType.AUTO else out_type.value.upper()
    target = target_of(model_name(adapter.resolve()), output, label)
    result = convert_adapter(adapter, directory, output=target, out_type=out_type, name=name, emit=emit)
    record_made("convert", result.path, adapter, options={"base": str(directory)}, emit=emit)
    return result


def _base_directory(adapter: Path, base: Model | None) -> Path:
    """Return the directory of an adapter's base; its config.json is enough, weights are not needed."""
    found = Path(base).expanduser() if base is not None else None
    return found if found is not None and found.is_dir() else base_of_adapter(adapter, base).path


def _refuse_merging(scale: float, merge_into: str) -> None:
    """Refuse what has no meaning for an adapter that stays one."""
    if scale != 1.0:
        raise UsageError("`--scale` is for merging; a GGUF adapter is scaled when it is used")
    if merge_into != MergeTarget.AUTO:
        raise UsageError(
            "`--merge-into` is for merging, and an adapter alone becomes a GGUF adapter",
            hint="to merge it, name the base: `localllm convert BASE --adapter ADAPTER`",
        )


def _overrides(metadata: Path | None) -> Mapping[str, Any] | None:
    return None if metadata is None else read_overrides(metadata.expanduser())
