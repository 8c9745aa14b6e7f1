"""`quantize`, `plan_quantization` and `imatrix`: files at any level, or what they would be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import fspath
from pathlib import Path

from localllm import pipeline
from localllm.assembly import Recipe
from localllm.errors import UsageError
from localllm.events import Emit, Notice, ignore
from localllm.imatrix.collect import ImatrixResult
from localllm.imatrix.texts import calibration_names, calibration_texts, read_text
from localllm.library.usage import note_use
from localllm.merge_target import MergeTarget
from localllm.native.dry_run import Quantizer
from localllm.publication import require_distinct
from localllm.quantization import quantize as quantization
from localllm.quantization.engine import QuantizationEngine, parse_engine
from localllm.quantization.importance import Importances
from localllm.quantization.levels import LEVELS, Level, parse_levels
from localllm.quantization.llama_cpp import require_readable
from localllm.quantization.options import QuantizationOptions
from localllm.quantization.quantize import QuantizationPlan, QuantizationResult
from localllm.quantization.source import QuantizationSource
from localllm.quantization.up_to_date import is_younger
from localllm.refs import Model
from localllm.store import (
    IMATRIX,
    resolve_source,
)
from localllm.verbs.pull import have
from localllm.verbs.records import record_made
from localllm.verbs.references import adapter_at, files_from, recipe_of, target_of

AUTO_MATRIX = "auto"
AUTO_LEVEL = "auto"


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
    keep_mtp: bool = False,
    options: QuantizationOptions | None = None,
    imatrix: Model | None = None,
    calibration: Sequence[Path] = (),
    threads: int | None = None,
    max_memory_bytes: int | None = None,
    force: bool = False,
    engine: str = QuantizationEngine.LOCALLLM,
    emit: Emit = ignore,
) -> list[QuantizationResult]:
    """Quantize a checkpoint or a GGUF file at every one of `levels`; "auto" is what its comparison advised.

    `adapters` are merged in first, at `scale` times their own. An adapter as `model` is merged into
    `base`, by default the base model it names. `output` names a file for one level, a directory for
    several or when it ends with a separator. A checkpoint takes tokenizer files that it lacks from `base`;
    `pre` overrides its recognised pre-tokenizer, `keep_mtp` keeps its layers for multi-token prediction.

    `imatrix` is the file of an importance matrix, or "auto" for one that is kept beside the outputs and made
    when there is none, on the texts `calibration` or the built-in one. Files that are already what this would
    write are kept, unless `force` is set. `engine` "llama.cpp" makes the same bytes of a GGUF file with
    llama.cpp's own quantizer.
    """
    wanted = _wanted(model, levels, emit)
    with Quantizer() as quantizer:  # llama.cpp is loaded while the model is looked at
        opened = _open(model, adapters, base, scale, merge_into, pre, keep_mtp, emit)
        require_readable(opened.source, parse_engine(engine))
        targets = _targets(opened.name, wanted, output)
        importances = _collected(
            _importances(imatrix, calibration, opened, targets), opened, calibration, threads, emit
        )
        plan = quantization.plan_quantization(
            opened.source, targets, options=options, importances=importances, quantizer=quantizer, emit=emit
        )
        results = quantization.quantize(
            plan,
            threads=threads,
            max_memory_bytes=max_memory_bytes,
            force=force,
            engine=engine,
            quantizer=quantizer,
            emit=emit,
        )
    for result in results:
        if not result.kept:
            _record(result, opened, options, importances, emit)
    return results


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
    keep_mtp: bool = False,
    options: QuantizationOptions | None = None,
    imatrix: Model | None = None,
    calibration: Sequence[Path] = (),
    context: int | None = None,
    emit: Emit = ignore,
) -> QuantizationPlan:
    """Tell what `quantize` with the same options would write, to the byte, and whether it could be run here.

    `context` is the number of tokens to estimate memory for. Nothing is written.
    """
    wanted = _wanted(model, levels, emit)
    with Quantizer() as quantizer:  # llama.cpp is loaded while the model is looked at
        opened = _open(model, adapters, base, scale, merge_into, pre, keep_mtp, emit)
        targets = _targets(opened.name, wanted, output)
        return quantization.plan_quantization(
            opened.source,
            targets,
            options=options,
            importances=_importances(imatrix, calibration, opened, targets),
            context=context,
            quantizer=quantizer,
            emit=emit,
        )


def collect_imatrix(
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
    have(model, weights=True, emit=emit)
    found = resolve_source(fspath(model))
    note_use(found.path)
    return pipeline.collect_from(
        Recipe(found.path),
        calibration_texts(texts),
        output=target_of(found.name, output, IMATRIX),
        context_size=context_size,
        max_chunks=max_chunks,
        threads=threads,
        process_output=process_output,
        parse_special=parse_special,
        emit=emit,
    )


def _wanted(model: Model, levels: Sequence[str], emit: Emit) -> list[Level]:
    """Read levels as users type them; see `parse_levels`."""
    words = [word.strip() for text in levels for word in text.split(",")]
    if any(word.lower() == AUTO_LEVEL for word in words):
        advised = _advised(model, emit)
        words = [advised if word.lower() == AUTO_LEVEL else word for word in words]
    return parse_levels(words)


def _advised(model: Model, emit: Emit) -> str:
    """Return the level the last comparison of a model advised. Raise UsageError when there is none."""
    from localllm.verbs.compare import history  # with all that measures

    text = fspath(model)
    result = next((each for each in history(model) if each.settings.evaluated_tokens), None)
    if result is None:
        raise UsageError(
            f"`-q auto` takes what a comparison advised, and there is none of `{text}`",
            hint=f"make one with `localllm compare {text}`, or name a level",
        )
    advised = result.advice.smallest
    if advised not in LEVELS:
        raise UsageError(
            f"the last comparison of `{text}` advised no level",
            hint=f"compare others with `localllm compare {text} -q all`, or name a level",
        )
    emit(Notice(f"taking {advised}, which the comparison of {result.started[:10]} advised"))
    return advised


@dataclass(frozen=True)
class _Opened:
    """A model to quantize, found out from what the user typed."""

    recipe: Recipe
    name: str
    files_from: Path | None
    pre: str | None
    keep_mtp: bool
    source: QuantizationSource

    @property
    def given_name(self) -> str | None:
        """Return the name for the metadata; without adapters the checkpoint's own stays."""
        return self.name if self.recipe.adapters else None


def _open(
    model: Model,
    adapters: Sequence[Model],
    base: Model | None,
    scale: float,
    merge_into: str,
    pre: str | None,
    keep_mtp: bool,
    emit: Emit,
) -> _Opened:
    have(model, *adapters, base, weights=True, emit=emit)
    recipe, name = recipe_of(model, adapters, base, scale, merge_into, resolve_source)
    note_use(recipe.base)
    lacking = None if adapter_at(model) is not None else files_from(base)
    given = name if recipe.adapters else None
    source = pipeline.open_source(recipe, name=given, base=lacking, pre=pre, keep_mtp=keep_mtp, emit=emit)
    return _Opened(recipe, name, lacking, pre, keep_mtp, source)


def _record(
    result: QuantizationResult,
    opened: _Opened,
    options: QuantizationOptions | None,
    importances: Importances | None,
    emit: Emit,
) -> None:
    record_made(
        "quantize",
        result.path,
        opened.recipe.base,
        adapters=opened.recipe.adapters,
        options={
            "level": result.level,
            "keep_mtp": opened.keep_mtp or None,
            **asdict(options or QuantizationOptions()),
        },
        imatrix=None if importances is None else importances.path,
        emit=emit,
    )


def _collected(
    importances: Importances | None, opened: _Opened, texts: Sequence[Path], threads: int | None, emit: Emit
) -> Importances | None:
    """Return the matrix, after collecting it when it is not there yet."""
    if importances is None or importances.matrix is not None:
        return importances
    pipeline.collect_from(
        opened.recipe,
        calibration_texts(texts),
        output=importances.path,
        name=opened.given_name,
        base=opened.files_from,
        pre=opened.pre,
        threads=threads,
        emit=emit,
    )
    return Importances.read(importances.path)


def _importances(
    imatrix: Model | None,
    calibration: Sequence[Path],
    opened: _Opened,
    targets: Sequence[tuple[Level, Path]],
) -> Importances | None:
    """Return the matrix to use; that of `auto` lies beside the outputs, when it is younger than the model."""
    if calibration and (imatrix is None or fspath(imatrix) != AUTO_MATRIX):
        raise UsageError("`--calibration` is for `--imatrix auto`", hint="add that, or leave it out")
    if imatrix is None:
        return None
    if fspath(imatrix) != AUTO_MATRIX:
        return Importances.read(Path(imatrix).expanduser())
    place = targets[0][1].with_name(f"{opened.name}-{IMATRIX}.gguf")
    inputs = [*opened.source.inputs, *_existing_texts(calibration, [place, *(path for _, path in targets)])]
    names = calibration_names(calibration)
    if place.is_file() and is_younger(place, inputs):
        found = Importances.read(place)
        if found.datasets == names:
            return found
    return Importances(place, names, None)


def _existing_texts(paths: Sequence[Path], outputs: Sequence[Path]) -> list[Path]:
    """Return `paths`, which must be texts and none of the outputs."""
    found = [path.expanduser() for path in paths]
    for path in found:
        read_text(path)
        for output in outputs:
            require_distinct(path, output)
    return found


def _targets(name: str, levels: Sequence[Level], output: Model | None) -> list[tuple[Level, Path]]:
    if len(levels) > 1 and output is not None:
        output = Path(output).expanduser()
        if output.is_file():
            raise UsageError(f"{output} is a file, but several levels need a directory")
        output = f"{output}{os.sep}"
    return [(level, target_of(name, output, level.name)) for level in levels]
