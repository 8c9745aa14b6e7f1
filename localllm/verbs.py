"""The verbs of localllm on model references: what the command line runs and Python users call.

A `model` is what users type: a path, a name in the library, either with `:LEVEL`. Results go into
the library unless `output` says otherwise. Every function raises a LocalLLMError when it fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from localllm import comparison, inspection, merging, pipeline
from localllm.adapters import is_adapter
from localllm.assembly import Recipe
from localllm.bases import adapter_directory, base_of, is_quantized, sixteen_bit_original
from localllm.checkpoint import open_checkpoint
from localllm.comparison import ComparisonResult
from localllm.conversion import convert as conversion
from localllm.conversion.convert import ConversionResult
from localllm.conversion.examination import Examination, examine, examine_adapter
from localllm.conversion.lora import convert_adapter
from localllm.conversion.out_type import OutType
from localllm.conversion.overrides import read_overrides
from localllm.engine import Engine, LlamaEngine
from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.split_names import starts_model
from localllm.imatrix.collect import ImatrixResult
from localllm.imatrix.texts import calibration_names, calibration_texts
from localllm.inspection import ModelDescription
from localllm.merge_target import MergeTarget
from localllm.merging import MergeResult
from localllm.quantization import quantize as quantization
from localllm.quantization.importance import Importances
from localllm.quantization.levels import Level, parse_levels
from localllm.quantization.options import QuantizationOptions
from localllm.quantization.quantize import QuantizationPlan, QuantizationResult
from localllm.quantization.source import QuantizationSource
from localllm.store import (
    DEMO,
    IMATRIX,
    Resolved,
    existing_file,
    model_name,
    models_directory,
    output_path,
    resolve,
    resolve_checkpoint,
    resolve_source,
    shipped_checkpoint,
    size_on_disk,
    stored_models,
)

Model = str | PathLike[str]
AUTO_MATRIX = "auto"
_SEPARATORS = ("/", os.sep)


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
    split_max_bytes: int | None = None,
    emit: Emit = ignore,
) -> ConversionResult:
    """Convert a checkpoint directory to a GGUF file; `out_type` is auto, f32, f16, bf16 or q8_0.

    `adapters` are merged into it, at `scale` times their own. When `source` is itself an adapter, it
    becomes a GGUF adapter for `base`, by default the base model it names; a checkpoint takes tokenizer
    files that it lacks from `base`. `output` is a file, or a directory when it is one or ends with a
    separator. `metadata` is a JSON file of `general.*` keys.
    With `split_max_bytes` the model goes into several files of at most about that size, if it is larger.
    """
    chosen = OutType(out_type)
    alone = _adapter(source)
    if alone is not None and not adapters:
        _refuse_merging(scale, merge_into)
        if split_max_bytes is not None:
            raise UsageError("an adapter is not split", hint="leave out `--split-max-size`")
        return _convert_adapter(alone, base, output, chosen, name, emit)
    recipe, recipe_name = _recipe(source, adapters, base, scale, merge_into)
    return conversion.convert(
        recipe,
        output=partial(_target, recipe_name, output),
        out_type=chosen,
        name=name or (recipe_name if recipe.adapters else None),
        pre=pre,
        base=None if alone is not None else _files_from(base),
        overrides=_overrides(metadata),
        split_max_bytes=split_max_bytes,
        emit=emit,
    )


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
    emit: Emit = ignore,
) -> Examination:
    """Find everything that stops or changes the conversion of `source`, without writing a file.

    The options are those of `convert`. Raise only when `source` is not there at all.
    """
    chosen = OutType(out_type)
    alone = _adapter(source)
    if alone is not None and not adapters:
        _refuse_merging(scale, merge_into)
        return examine_adapter(alone, lambda: _base_directory(alone, base), chosen, emit)
    recipe, recipe_name = _recipe(source, adapters, base, scale, merge_into)
    return examine(
        recipe,
        out_type=chosen,
        name=name or (recipe_name if recipe.adapters else None),
        pre=pre,
        base=None if alone is not None else _files_from(base),
        overrides=_overrides(metadata),
        emit=emit,
    )


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
    recipe, name = _recipe(base, adapters, None, scale, merge_into)
    target = Path(output).expanduser() if output else models_directory() / name
    return merging.merge(recipe, output=target, emit=emit)


def quantize(
    model: Model,
    levels: Sequence[str],
    *,
    adapters: Sequence[Model] = (),
    base: Model | None = None,
    scale: float = 1.0,
    merge_into: str = MergeTarget.AUTO,
    output: Model | None = None,
    pre: str | None = None,
    options: QuantizationOptions | None = None,
    imatrix: Model | None = None,
    calibration: Sequence[Path] = (),
    threads: int | None = None,
    max_memory_bytes: int | None = None,
    force: bool = False,
    emit: Emit = ignore,
) -> list[QuantizationResult]:
    """Quantize a checkpoint or a GGUF file at every one of `levels`.

    `adapters` are merged in first, at `scale` times their own. An adapter as `model` is merged into
    `base`, by default the base model it names. `output` names a file for one level, a directory for
    several or when it ends with a separator. A checkpoint takes tokenizer files that it lacks from `base`;
    `pre` overrides its recognised pre-tokenizer.

    `imatrix` is the file of an importance matrix, or "auto" for one that is kept beside the outputs and made
    when there is none, on the texts `calibration` or the built-in one. Files that are already what this would
    write are kept, unless `force` is set.
    """
    parts = _Quantization.of(
        model, levels, adapters, base, scale, merge_into, output, pre, imatrix, calibration, emit
    )
    if parts.importances is not None and parts.importances.matrix is None:
        parts = parts.with_collected_matrix(threads, emit)
    plan = quantization.plan_quantization(
        parts.source, parts.targets, options=options, importances=parts.importances, emit=emit
    )
    return quantization.quantize(
        plan, threads=threads, max_memory_bytes=max_memory_bytes, force=force, emit=emit
    )


def plan_quantization(
    model: Model,
    levels: Sequence[str],
    *,
    adapters: Sequence[Model] = (),
    base: Model | None = None,
    scale: float = 1.0,
    merge_into: str = MergeTarget.AUTO,
    output: Model | None = None,
    pre: str | None = None,
    options: QuantizationOptions | None = None,
    imatrix: Model | None = None,
    calibration: Sequence[Path] = (),
    context: int | None = None,
    emit: Emit = ignore,
) -> QuantizationPlan:
    """Tell what `quantize` with the same options would write, to the byte, and whether it could be run here.

    `context` is the number of tokens to estimate memory for. Nothing is written.
    """
    parts = _Quantization.of(
        model, levels, adapters, base, scale, merge_into, output, pre, imatrix, calibration, emit
    )
    return quantization.plan_quantization(
        parts.source,
        parts.targets,
        options=options,
        importances=parts.importances,
        context=context,
        emit=emit,
    )


def imatrix(
    model: Model,
    texts: Sequence[Path] = (),
    *,
    output: Model | None = None,
    context_size: int = 512,
    max_chunks: int | None = None,
    threads: int | None = None,
    process_output: bool = False,
    parse_special: bool = False,
    emit: Emit = ignore,
) -> ImatrixResult:
    """Collect an importance matrix of a model on `texts`, by default on the built-in one.

    It goes to the library as NAME/NAME-imatrix.gguf unless `output` says otherwise. Of a name in the library
    what is not quantized is taken; the other options are those of `collect_imatrix`.
    """
    found = resolve_source(fspath(model))
    return pipeline.collect_from(
        Recipe(found.path),
        calibration_texts(texts),
        output=_target(found.name, output, IMATRIX),
        context_size=context_size,
        max_chunks=max_chunks,
        threads=threads,
        process_output=process_output,
        parse_special=parse_special,
        emit=emit,
    )


def inspect(model: Model) -> ModelDescription:
    """Describe a GGUF file from its header."""
    return inspection.inspect(existing_file(fspath(model)))


def compare(
    models: Sequence[Model],
    *,
    text: Path | None = None,
    threads: int | None = None,
    repetitions: int = comparison.DEFAULT_REPETITIONS,
    max_chunks: int | None = None,
    emit: Emit = ignore,
) -> ComparisonResult:
    """Measure files side by side; a library name without level stands for all its files."""
    paths = list(dict.fromkeys(path for model in models for path in _files(model)))
    return comparison.compare(
        paths,
        text=comparison.read_text(text or _evaluation_text(paths[0], emit)),
        threads=threads,
        repetitions=repetitions,
        max_chunks=max_chunks,
        emit=emit,
    )


def load(
    model: Model, *, context_size: int | None = None, threads: int | None = None, emit: Emit = ignore
) -> Engine:
    """Load a model and return an engine that answers conversations.

    A checkpoint is quantized into the library first. `context_size` is in tokens; None takes what
    the model was trained for, up to 8192.
    """
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    path = pipeline.runnable_file(found, emit=emit)
    return LlamaEngine(path, context_size=context_size, threads=threads)


@dataclass(frozen=True)
class _Quantization:
    """What a quantization works on, found out from what the user typed."""

    recipe: Recipe
    name: str | None
    base: Path | None
    pre: str | None
    source: QuantizationSource
    targets: list[tuple[Level, Path]]
    importances: Importances | None
    texts: Sequence[Path]

    @classmethod
    def of(
        cls,
        model: Model,
        levels: Sequence[str],
        adapters: Sequence[Model],
        base: Model | None,
        scale: float,
        merge_into: str,
        output: Model | None,
        pre: str | None,
        imatrix: Model | None,
        calibration: Sequence[Path],
        emit: Emit,
    ) -> _Quantization:
        wanted = parse_levels(levels)
        recipe, found_name = _recipe(model, adapters, base, scale, merge_into, resolve_source)
        targets = _targets(found_name, wanted, output)
        name = found_name if recipe.adapters else None
        files_from = None if _adapter(model) is not None else _files_from(base)
        source = pipeline.open_source(recipe, name=name, base=files_from, pre=pre, emit=emit)
        place = targets[0][1].with_name(f"{found_name}-{IMATRIX}.gguf")
        importances = _importances(imatrix, calibration, place, source)
        return cls(recipe, name, files_from, pre, source, targets, importances, calibration)

    def with_collected_matrix(self, threads: int | None, emit: Emit) -> _Quantization:
        assert self.importances is not None
        path = self.importances.path
        pipeline.collect_from(
            self.recipe,
            calibration_texts(self.texts),
            output=path,
            name=self.name,
            base=self.base,
            pre=self.pre,
            threads=threads,
            emit=emit,
        )
        return replace(self, importances=Importances.read(path))


def _importances(
    imatrix: Model | None, calibration: Sequence[Path], place: Path, source: QuantizationSource
) -> Importances | None:
    """Return the matrix to use; that of `auto` lies at `place`, when it is younger than the model."""
    if imatrix is None:
        if calibration:
            raise UsageError("`--calibration` is for `--imatrix auto`", hint="add that, or leave it out")
        return None
    if fspath(imatrix) != AUTO_MATRIX:
        return Importances.read(Path(imatrix).expanduser())
    names = calibration_names(calibration)
    inputs = [*source.inputs, *calibration]
    if place.is_file() and place.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        found = Importances.read(place)
        if found.datasets == names:
            return found
    return Importances(place, names, None)


def _recipe(
    model: Model,
    adapters: Sequence[Model],
    base: Model | None,
    scale: float,
    merge_into: str,
    find: Callable[[str], Resolved] = resolve_checkpoint,
) -> tuple[Recipe, str]:
    """Return what to make a model from, and its name: that of the base, then of the adapters."""
    alone = _adapter(model)
    if alone is not None:
        found, adapters = _base_of(alone, base), (alone, *adapters)
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


def _adapter(model: Model) -> Path | None:
    """Return the adapter directory that `model` names: a path, or an adapter in the library."""
    try:
        directory = adapter_directory(fspath(model))
    except NotFoundError:
        return None
    return directory if is_adapter(directory) else None


def _base_of(adapter: Path, given: Model | None) -> Resolved:
    if given is not None:
        return resolve_source(fspath(given))
    directory = base_of(adapter)
    return Resolved(model_name(directory.resolve()), directory, None)


def _convert_adapter(
    adapter: Path, base: Model | None, output: Model | None, out_type: OutType, name: str | None, emit: Emit
) -> ConversionResult:
    directory = _base_directory(adapter, base)
    label = "F32" if out_type is OutType.AUTO else out_type.value.upper()
    target = _target(model_name(adapter.resolve()), output, label)
    return convert_adapter(adapter, directory, output=target, out_type=out_type, name=name, emit=emit)


def _base_directory(adapter: Path, base: Model | None) -> Path:
    """Return the directory of an adapter's base; its config.json is enough, weights are not needed."""
    found = Path(base).expanduser() if base is not None else None
    return found if found is not None and found.is_dir() else _base_of(adapter, base).path


def _refuse_merging(scale: float, merge_into: str) -> None:
    """Refuse what has no meaning for an adapter that stays one."""
    if scale != 1.0:
        raise UsageError("`--scale` is for merging; a GGUF adapter is scaled when it is used")
    if merge_into != MergeTarget.AUTO:
        raise UsageError(
            "`--merge-into` is for merging, and an adapter alone becomes a GGUF adapter",
            hint="to merge it, name the base: `localllm convert BASE --adapter ADAPTER`",
        )


def _files_from(base: Model | None) -> Path | None:
    """Return the directory to take missing tokenizer files from: a path, or a checkpoint in the library."""
    if base is None:
        return None
    path = Path(base).expanduser()
    return path if path.is_dir() else resolve_source(fspath(base)).path


def _overrides(metadata: Path | None) -> Mapping[str, Any] | None:
    return None if metadata is None else read_overrides(metadata.expanduser())


def _target(name: str, output: Model | None, level: str) -> Path:
    """Return where the file of `name` goes: `output`, in it when it is a directory, or the library."""
    if output is None:
        return output_path(name, level)
    path = Path(output).expanduser()
    return path / f"{name}-{level}.gguf" if _names_directory(output) else path


def _names_directory(output: Model) -> bool:
    return fspath(output).endswith(_SEPARATORS) or Path(output).expanduser().is_dir()


def _targets(name: str, levels: Sequence[Level], output: Model | None) -> list[tuple[Level, Path]]:
    if len(levels) > 1 and output is not None:
        output = Path(output).expanduser()
        if output.is_file():
            raise UsageError(f"{output} is a file, but several levels need a directory")
        output = f"{output}{os.sep}"
    return [(level, _target(name, output, level.name)) for level in levels]


def _files(model: Model) -> list[Path]:
    """Return the GGUF files a comparison of `model` covers, smallest first."""
    text = fspath(model)
    stored = [entry.path for entry in stored_models() if entry.name == text]
    if stored:
        return stored
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted(filter(starts_model, path.glob("*.gguf")), key=size_on_disk)
        if files:
            return files
    return [existing_file(fspath(model))]


def _evaluation_text(first: Path, emit: Emit) -> Path:
    """Return the model's own eval.txt, or the text that ships with the demo."""
    own = first.parent / "eval.txt"
    if own.is_file():
        return own
    demo = shipped_checkpoint(DEMO)
    if demo is None or not (demo / "eval.txt").is_file():
        raise NotFoundError("there is no text to measure perplexity on", hint="pass one with `--text FILE`")
    if first.parent != models_directory() / DEMO:
        emit(Notice("perplexity is measured on the demo's text", hint="pass your own with `--text FILE`"))
    return demo / "eval.txt"
