"""`compare`, `history` and `last`: the levels of a model side by side, and what was compared before."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import fspath
from pathlib import Path

from localllm.benchmark import GENERATED_TOKENS, PROMPT_TOKENS, REPETITIONS
from localllm.comparison.data import to_data
from localllm.comparison.history import runs
from localllm.comparison.measurement import ComparisonResult, Measurement
from localllm.comparison.quality import Limits, Text
from localllm.comparison.rows import STEP
from localllm.comparison.run import compare_files
from localllm.comparison.subject import (
    Subject,
    distinctly_named,
    most_precise,
    require_one_model,
    subject_of,
)
from localllm.comparison.tasks import read_task
from localllm.comparison.wishes import MAX_KL_DIVERGENCE, MIN_SAME_TOP_TOKEN, SpeedSettings, Wishes
from localllm.errors import LocalLLMError, UsageError
from localllm.evaluation import DEFAULT_CONTEXT, evaluation_texts
from localllm.events import Emit, Found, Notice, ignore
from localllm.imatrix import read_text
from localllm.library.usage import note_use
from localllm.machine import usable_cores
from localllm.publication import temporary_directory
from localllm.refs import Model
from localllm.store import output_path, resolve_source
from localllm.verbs.compared import Compared, what_to_compare

MAX_LOSS = 1.0 - MIN_SAME_TOP_TOKEN


def compare(
    models: Sequence[Model],
    *,
    levels: Sequence[str] = (),
    against: Model | None = None,
    texts: Sequence[Path] = (),
    chat_format: bool = False,
    max_chunks: int | None = None,
    max_minutes: float | None = None,
    context_size: int = DEFAULT_CONTEXT,
    repetitions: int = REPETITIONS,
    prompt_tokens: int = PROMPT_TOKENS,
    generated_tokens: int = GENERATED_TOKENS,
    depth: int = 0,
    prompts: Sequence[str] = (),
    tasks: Sequence[Path] = (),
    speed: bool = True,
    quality: bool = True,
    keep: bool = True,
    max_loss: float | None = None,
    threads: int | None = None,
    force: bool = False,
    emit: Emit = ignore,
) -> ComparisonResult:
    """Measure the levels of a model side by side: size, speed, memory, quality, answers, tasks; and advise.

    `models` are checkpoints, GGUF files, names in the library or references to the hub, all of one model. By
    default the levels that are there are compared, or the recommended ones when there are not two yet;
    `levels` names others. What is missing is made, and kept in the library unless `keep` is off. The
    reference is `against`, else the most precise file, else the checkpoint at 16 bits.

    Quality is measured on `texts`, else the model's own eval.txt, else a sample, in windows of `context_size`
    tokens, until levels can be told apart or `max_chunks` or `max_minutes` are reached. `prompts` are
    answered greedily, `tasks` are JSONL files of questions. Speeds read `prompt_tokens` and generate
    `generated_tokens` behind `depth` others, `repetitions` times. `max_loss` is the share of tokens whose
    most probable one may change for the advice (0.05; the KL divergence of 0.03 goes with it).

    What was measured before with the same settings is not measured again, unless `force` is set.
    """
    _require_counts(
        repetitions=repetitions,
        prompt_tokens=prompt_tokens,
        generated_tokens=generated_tokens,
        max_chunks=max_chunks,
        max_minutes=max_minutes,
        threads=threads,
    )
    wanted_tasks = tuple(read_task(Path(path).expanduser()) for path in tasks)
    loss = _allowed_loss(max_loss)
    _require_text_options(quality, texts, chat_format, context_size)
    compared = what_to_compare(models, levels, against, emit)
    text = _text(compared, texts, chat_format, context_size) if quality else None
    with _place_to_make(keep) as place:
        paths, reference_path = _made(compared, place, threads, emit)
        subjects, reference = _subjects(paths, reference_path, emit)
        wishes = Wishes(
            threads=threads or usable_cores(),
            speed=SpeedSettings(repetitions, prompt_tokens, generated_tokens, depth),
            measures_speed=speed,
            text=text,
            limits=Limits(max_chunks, None if max_minutes is None else 60 * max_minutes),
            prompts=tuple(prompts),
            tasks=wanted_tasks,
            max_kl_divergence=MAX_KL_DIVERGENCE * loss / MAX_LOSS,
            min_same_top_token=1.0 - loss,
            force=force,
        )
        return compare_files(
            compared.name,
            compared.source,
            subjects,
            reference,
            wishes,
            notes=_notes(subjects, reference, emit),
            emit=emit,
        )


def history(model: Model | None = None) -> list[ComparisonResult]:
    """Return the comparisons that were made, of one model or of all, newest first."""
    if model is None:
        return list(runs())
    name, path = _identity(model)
    return [result for result in runs() if _is_of(result, name, path)]


def last(model: Model) -> ComparisonResult | None:
    """Return the last comparison of a model, if there is one."""
    return next(iter(history(model)), None)


def _identity(model: Model) -> tuple[str, Path | None]:
    """Return the name of a model and its path; a name alone when it is not here any more."""
    try:
        found = resolve_source(fspath(model))
    except LocalLLMError:
        return fspath(model).partition(":")[0], None
    return found.name, found.path.resolve()


def _is_of(result: ComparisonResult, name: str, path: Path | None) -> bool:
    if path is not None:
        places = {row.path for row in result.measurements} | {result.source or ""}
        if any(place and Path(place).resolve() == path for place in places):
            return True
    other = path is not None and result.source is not None and Path(result.source).is_dir() and path.is_dir()
    return result.model == name and not other


def _require_counts(**values: float | None) -> None:
    """Raise UsageError for what is given but not above zero."""
    for name, value in values.items():
        if value is not None and not value > 0:
            raise UsageError(f"`{name}` must be above 0, not {value:g}")


def _allowed_loss(max_loss: float | None) -> float:
    if max_loss is None:
        return MAX_LOSS
    if not 0.0 < max_loss < 1.0:
        raise UsageError(
            f"`--max-loss` must be a share between 0 and 1, not {max_loss:g}",
            hint="0.05 allows every twentieth token another most probable one",
        )
    return max_loss


def _require_text_options(quality: bool, texts: Sequence[Path], chat_format: bool, context_size: int) -> None:
    if not quality and (texts or chat_format):
        raise UsageError("`--no-quality` measures on no text", hint="leave it out, or the text")
    if context_size < 8:
        raise UsageError("windows of text need at least 8 tokens", hint="512 is usual")
    longest = sum(len(read_text(Path(path).expanduser())[1].encode()) for path in texts)
    if texts and longest < 2 * context_size:  # no token is shorter than a byte
        raise UsageError(
            f"the text has {longest} bytes, too little for two windows of {context_size} tokens",
            hint="pass a longer text with `--text FILE`, or a smaller `--context`",
        )


def _text(compared: Compared, given: Sequence[Path], chat_format: bool, context_size: int) -> Text:
    models = [*([] if compared.source is None else [compared.source]), *compared.files]
    paths, source = evaluation_texts(models, [Path(path) for path in given])
    return Text(tuple(path.absolute() for path in paths), source, chat_format, context_size)


@contextmanager
def _place_to_make(keep: bool) -> Iterator[Path | None]:
    """Yield a directory for files that are not to be kept; None for the library."""
    if keep:
        yield None
        return
    with temporary_directory() as directory:
        yield directory


def _made(
    compared: Compared, place: Path | None, threads: int | None, emit: Emit
) -> tuple[list[Path], Path | None]:
    """Make what is missing, in one pass if possible; return all files, and the reference if it is known."""
    reference = compared.against_file
    paths = list(compared.files)
    together = compared.reference is not None and compared.against == compared.origin
    levels = [*compared.missing, *([compared.reference] if together and compared.reference else [])]
    for level in levels:  # what rows there will be, before the files are
        planned = Measurement(level, str(_target(compared.name, level, place)))
        emit(Found(STEP, "measurement", to_data(planned)))
    if levels:
        assert compared.origin is not None
        made = _quantized(compared.origin, levels, place, threads, emit)
        paths = [*compared.files, *made]
        if together:
            reference = made[-1]
    if compared.reference is not None and place is None:
        emit(
            Notice(
                f"the reference, {compared.reference}, is kept in the library",
                hint="`localllm rm` removes it; `--no-keep` keeps nothing that is made",
                topic="kept-reference",
            )
        )
    if compared.reference is not None and not together:
        assert compared.against is not None
        reference = _quantized(compared.against, [compared.reference], place, threads, emit)[0]
    if reference is not None:
        paths.append(reference)
    for path in paths if place is None else compared.files:
        note_use(path)
    return paths, reference


def _target(name: str, level: str, place: Path | None) -> Path:
    return output_path(name, level) if place is None else place / f"{name}-{level}.gguf"


def _quantized(
    model: str, levels: Sequence[str], place: Path | None, threads: int | None, emit: Emit
) -> list[Path]:
    from localllm.verbs.quantize import quantize  # with the converter, which is slow to load

    output = None if place is None else f"{place}{os.sep}"
    return [result.path for result in quantize(model, levels, output=output, threads=threads, emit=emit)]


def _subjects(
    paths: Sequence[Path], reference_path: Path | None, emit: Emit
) -> tuple[list[Subject], Subject]:
    """Return the files, each once, with names for their levels that tell them apart; and the reference."""
    distinct = {path.resolve(): path for path in paths}
    subjects = distinctly_named([subject_of(path, emit=emit) for path in distinct.values()])
    reference = most_precise(subjects)
    if reference_path is not None:
        place = reference_path.resolve()
        reference = next(subject for subject in subjects if subject.path.resolve() == place)
    require_one_model([reference, *(subject for subject in subjects if subject is not reference)])
    return subjects, reference


def _notes(subjects: Sequence[Subject], reference: Subject, emit: Emit) -> list[str]:
    """Return what a reader should know about the reference, and tell it."""
    notes = []
    if len(subjects) == 1:
        notes.append(
            f"{reference.level} is the only file: `--against` names what to compare its quality with"
        )
    elif reference.is_quantized:
        notes.append(f"the reference, {reference.level}, is quantized itself: the real loss is larger")
    for note in notes:
        emit(Notice(note))
    return notes
