"""Quantizes a model at one level or many: plan, hold the plan against the machine, write, read again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from localllm.errors import QuantizationError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file import read_header
from localllm.gguf_file.preflight import require_loadable
from localllm.gguf_file.split_names import refuse_other_split, split_paths
from localllm.machine import usable_cores
from localllm.memory import context_of
from localllm.native.dry_run import Quantizer
from localllm.native.worker import Worker
from localllm.publication import publishing_files, require_distinct, require_replaceable, require_space
from localllm.quantization.acceptance import require_accepted
from localllm.quantization.advice import Fit, Resources, advise, fit, resources
from localllm.quantization.contents import count_types
from localllm.quantization.engine import QuantizationEngine, parse_engine
from localllm.quantization.importance import Importances, provenance, require_fitting, require_matrix
from localllm.quantization.levels import Level
from localllm.quantization.llama_cpp import require_readable, write_level
from localllm.quantization.options import QuantizationOptions
from localllm.quantization.plan import LevelPlan, plan_levels
from localllm.quantization.source import QuantizationSource
from localllm.quantization.up_to_date import is_up_to_date
from localllm.quantization.working_set import piece_weights
from localllm.quantization.writing import Target, write_levels
from localllm.units import format_bytes


@dataclass(frozen=True)
class QuantizationResult:
    """One level: `path` is the first of its `files`, sizes are those of all of them.

    `types` counts tensors per storage type, `fallbacks` those that did not fit theirs. `seconds` is the
    level's share of the run; 0 when the files were there already and were `kept`.
    """

    level: str
    path: Path
    size_bytes: int
    bits_per_weight: float
    types: dict[str, int]
    fallbacks: int
    seconds: float
    files: int
    kept: bool


@dataclass(frozen=True)
class QuantizationPlan:
    """What quantizing would write: for every level its files, whether it could be run here, and the advice.

    `context` is what memory was estimated for, in tokens; `advised` the index of the largest level that fits
    this machine, None when none does.
    """

    source: QuantizationSource
    levels: tuple[LevelPlan, ...]
    paths: tuple[tuple[Path, ...], ...]
    options: QuantizationOptions
    importances: Importances | None
    fits: tuple[Fit, ...]
    resources: Resources
    context: int
    advised: int | None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return (*self.source.inputs, *([self.importances.path] if self.importances else []))


def plan_quantization(
    source: QuantizationSource,
    targets: Sequence[tuple[Level, Path]],
    *,
    options: QuantizationOptions | None = None,
    importances: Importances | None = None,
    context: int | None = None,
    quantizer: Quantizer | None = None,
    emit: Emit = ignore,
) -> QuantizationPlan:
    """Plan the files of every (level, path) of `targets`, exactly, without reading a weight.

    `context` is the number of tokens to estimate memory for; `quantizer` one that was started ahead. Raise
    UsageError, or QuantizationError, also for a matrix that does not belong to the model and for options that
    make something llama.cpp does not load.
    """
    plans, devices = plan_levels(
        source,
        [level for level, _ in targets],
        options or QuantizationOptions(),
        has_matrix=importances is not None,
        provenance=provenance(importances) if importances else (),
        quantizer=quantizer,
    )
    if importances is None:
        require_matrix(plans)
    else:
        require_fitting(importances, plans, emit)
    require_accepted(source, plans[0], options or QuantizationOptions(), emit)
    found = resources(devices)
    tokens = context_of(source.headers[0], context)
    fits = [fit(plan, source.headers[0], found, tokens) for plan in plans]
    paths = [split_paths(path, len(plan.files)) for plan, (_, path) in zip(plans, targets, strict=True)]
    return QuantizationPlan(
        source=source,
        levels=tuple(plans),
        paths=tuple(map(tuple, paths)),
        options=options or QuantizationOptions(),
        importances=importances,
        fits=tuple(fits),
        resources=found,
        context=tokens,
        advised=advise(plans, fits),
    )


def quantize(
    plan: QuantizationPlan,
    *,
    threads: int | None = None,
    max_memory_bytes: int | None = None,
    force: bool = False,
    engine: str = QuantizationEngine.LOCALLLM,
    quantizer: Quantizer | None = None,
    emit: Emit = ignore,
) -> list[QuantizationResult]:
    """Write the files of `plan`, with our own driver or llama.cpp's (one level after another, same bytes).

    Our own works in the child of `quantizer`, if there is one, and ends it. Files that are already what this
    would write are kept unless `force` is set. All others are written in one pass over the weights, by
    `threads` (default: all usable cores) and in about `max_memory_bytes`. They appear under their names only
    when they are complete and have been read again; when anything fails none of them does. Raise
    QuantizationError, CheckpointError, UsageError, SameFileError or StorageError.
    """
    chosen = parse_engine(engine)
    require_readable(plan.source, chosen)
    for paths in plan.paths:
        _require_free_names(plan.inputs, paths)
    todo = [index for index in range(len(plan.levels)) if force or not _is_there(plan, index)]
    seconds = dict.fromkeys(range(len(plan.levels)), 0.0)
    if todo:
        plan.source.prove()
        worker = None if quantizer is None else quantizer.hand_over()
        taken = _write(plan, todo, threads or usable_cores(), max_memory_bytes, chosen, worker, emit)
        seconds.update(zip(todo, taken, strict=True))
    return [_result(plan, index, seconds[index], kept=index not in todo) for index in range(len(plan.levels))]


def _require_free_names(inputs: Sequence[Path], paths: Sequence[Path]) -> None:
    """Refuse to write over what is read or is no file, or beside the same model in other pieces."""
    for path in paths:
        require_replaceable(path)
        for read in inputs:
            require_distinct(read, path)
    refuse_other_split(paths)


def _is_there(plan: QuantizationPlan, index: int) -> bool:
    files = zip(plan.levels[index].files, plan.paths[index], strict=True)
    return all(is_up_to_date(path, file.header, file.size_bytes, plan.inputs) for file, path in files)


def _write(
    plan: QuantizationPlan,
    todo: Sequence[int],
    threads: int,
    max_memory_bytes: int | None,
    engine: QuantizationEngine,
    worker: Worker | None,
    emit: Emit,
) -> list[float]:
    """Write the levels `todo`; return the seconds each of them took."""
    levels = [plan.levels[index] for index in todo]
    require_space([(plan.paths[i][0], plan.levels[i].size_bytes) for i in todo])
    for level in levels:
        _announce(level, emit)
    with ExitStack() as stack:
        targets = []
        for index in todo:
            parts = stack.enter_context(publishing_files(plan.paths[index]))
            targets.append([Target(*pair) for pair in zip(parts, plan.paths[index], strict=True)])
        if engine is QuantizationEngine.LLAMA_CPP:
            seconds = _with_llama_cpp(plan, levels, targets, threads, max_memory_bytes, emit)
        else:
            seconds = _with_own(plan, levels, targets, threads, max_memory_bytes, worker, emit)
        for level, own in zip(levels, targets, strict=True):
            _verify(level, own)
    return seconds


def _with_own(
    plan: QuantizationPlan,
    levels: Sequence[LevelPlan],
    targets: Sequence[Sequence[Target]],
    threads: int,
    max_memory_bytes: int | None,
    worker: Worker | None,
    emit: Emit,
) -> list[float]:
    return write_levels(
        plan.source,
        levels,
        targets,
        matrix=plan.importances.path if plan.importances else None,
        threads=threads,
        piece_weights=piece_weights(levels, threads, max_memory_bytes),
        worker=worker,
        emit=emit,
    )


def _with_llama_cpp(
    plan: QuantizationPlan,
    levels: Sequence[LevelPlan],
    targets: Sequence[Sequence[Target]],
    threads: int,
    max_memory_bytes: int | None,
    emit: Emit,
) -> list[float]:
    return [
        write_level(
            plan.source,
            level,
            own,
            plan.options,
            provenance=provenance(plan.importances) if plan.importances else (),
            matrix=plan.importances.path if plan.importances else None,
            threads=threads,
            max_memory_bytes=max_memory_bytes,
            emit=emit,
        )
        for level, own in zip(levels, targets, strict=True)
    ]


def _announce(plan: LevelPlan, emit: Emit) -> None:
    """Tell what a level will be before it is written."""
    text = f"{plan.level.name}: {format_bytes(plan.size_bytes)}, {plan.bits_per_weight:.2f} bits per weight"
    if not plan.fallbacks:
        emit(Notice(text, topic="plan"))
        return
    tensors = "1 tensor does" if plan.fallbacks == 1 else f"{plan.fallbacks} tensors do"
    emit(
        Notice(
            f"{text} instead of {plan.level.bits_per_weight:.2f}: {tensors} not fit the block of the wanted "
            "type and got another",
            topic="fallback",
        )
    )


def _verify(plan: LevelPlan, targets: Sequence[Target]) -> None:
    """Read the files again. Raise QuantizationError unless they are what was planned."""
    for file, target in zip(plan.files, targets, strict=True):
        made = read_header(target.part)
        with target.part.open("rb") as written:
            is_as_planned = written.read(len(file.header)) == file.header
        if not is_as_planned or made.file_size_bytes != file.size_bytes:
            raise QuantizationError(
                f"{target.final} came out otherwise than planned and was discarded",
                hint="the disk or the memory may be failing; try again",
            )
    require_loadable(read_header(targets[0].part), targets[0].final.name)


def _result(plan: QuantizationPlan, index: int, seconds: float, *, kept: bool) -> QuantizationResult:
    level, paths = plan.levels[index], plan.paths[index]
    return QuantizationResult(
        level=level.level.name,
        path=paths[0],
        size_bytes=level.size_bytes,
        bits_per_weight=level.bits_per_weight,
        types=count_types(tensor.output for tensor in level.tensors),
        fallbacks=level.fallbacks,
        seconds=seconds,
        files=len(paths),
        kept=kept,
    )
