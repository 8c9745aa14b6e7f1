"""How close each level comes to the reference, in rounds of chunks of a text.

In each round the reference is evaluated first and its predictions are stored; then every level is compared
with them. What was evaluated before is not evaluated again: scores are kept beside the reference's
predictions, under `references/<what it was made of>`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localllm.comparison.digests import text_digest
from localllm.comparison.kept_figures import KeptFigures
from localllm.comparison.measurement import Uncertain
from localllm.comparison.places import comparisons_directory, references_directory
from localllm.comparison.rounds import next_chunks, undecided_pairs
from localllm.comparison.subject import Subject
from localllm.errors import LocalLLMError, ReferenceStoreError, UsageError
from localllm.evaluation import EVALUATE_JOB, Scores, summarise
from localllm.events import Emit
from localllm.home import make_private
from localllm.native.worker import run_job
from localllm.publication import translated_errors

_KIND = "quality"


@dataclass(frozen=True)
class Text:
    """What models are evaluated on, and in windows of how many tokens."""

    paths: tuple[Path, ...]
    source: str
    chat_format: bool
    context_size: int


@dataclass(frozen=True)
class Limits:
    """When to stop although levels cannot be told apart; seconds are those of all rounds together.

    `seconds_per_chunk` is what a chunk may take in all files together, for the first round; 0: nobody knows.
    """

    chunks: int | None = None
    seconds: float | None = None
    seconds_per_chunk: float = 0.0


@dataclass
class QualityFindings:
    """What came out: how much text was used, and which neighbours could not be told apart."""

    chunks: int = 0
    tokens: int = 0
    undecided: list[tuple[str, str]] = field(default_factory=list)
    scores: dict[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class _Round:
    """One evaluation: `available` are the chunks of the whole text; `seconds` 0 when it was kept."""

    scores: Scores
    chunks: int
    available: int
    seconds: float


class Evaluator:
    """Evaluates files on ranges of chunks of a text, against one reference or against none."""

    def __init__(
        self, reference: Subject | None, text: Text, threads: int, kept: KeptFigures, *, emit: Emit
    ) -> None:
        self._reference = reference
        self._text = text
        self._threads = threads
        self._kept = kept
        self._emit = emit
        self._settings: dict[str, Any] = {
            "reference": None if reference is None else reference.sha256,
            "texts": text_digest(text.paths),
            "context_size": text.context_size,
            "chat_format": text.chat_format,
        }
        name = hashlib.sha256(json.dumps(self._settings, sort_keys=True).encode()).hexdigest()[:40]
        self.directory = references_directory() / name

    def evaluate(self, subject: Subject, first: int, chunks: int) -> _Round:
        """Return the scores of `chunks` chunks from number `first` on; fewer at the end of the text.

        Raise UsageError for a text that is too short, or what the child raises.
        """
        found = self._find(subject, first, chunks)
        if found is not None:
            return found
        if subject is self._reference:
            return self._predict(subject, first, chunks)
        try:
            return self._run(subject, first, chunks)
        except ReferenceStoreError:  # damaged, or removed to make room for another
            if self._reference is None:
                raise
            self._predict(self._reference, first, chunks)
            return self._run(subject, first, chunks)

    def _predict(self, reference: Subject, first: int, chunks: int) -> _Round:
        """Evaluate the reference and store what it predicts, anew when the old store cannot be read."""
        try:
            return self._run(reference, first, chunks)
        except ReferenceStoreError:
            shutil.rmtree(self._store, ignore_errors=True)
            return self._run(reference, first, chunks)

    def _run(self, subject: Subject, first: int, chunks: int) -> _Round:
        place = self._place(subject, first, chunks)
        mine = place.with_name(f".{os.getpid()}-{place.name}")  # another run may make the same
        with translated_errors(place):
            make_private(comparisons_directory())
            mine.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        try:
            result = run_job(EVALUATE_JOB, self._arguments(subject, first, chunks, mine), emit=self._emit)
            scores = Scores.load(mine)
            mine.replace(place)
        finally:
            with suppress(OSError):
                mine.unlink(missing_ok=True)
        figures = {"chunks": result["chunks"], "available_chunks": result["available_chunks"]}
        self._kept.keep(_KIND, self._key(subject, first, chunks), figures)
        return _Round(scores, figures["chunks"], figures["available_chunks"], time.monotonic() - started)

    def _find(self, subject: Subject, first: int, chunks: int) -> _Round | None:
        """Return what was evaluated before, if it is all there."""
        figures = self._kept.find(_KIND, self._key(subject, first, chunks))
        if figures is None:
            return None
        try:
            scores = Scores.load(self._place(subject, first, chunks))
            os.utime(self.directory)  # used now
            return _Round(scores, int(figures["chunks"]), int(figures["available_chunks"]), 0.0)
        except (LocalLLMError, OSError, KeyError, TypeError, ValueError):
            return None

    def _arguments(self, subject: Subject, first: int, chunks: int, scores: Path) -> dict[str, Any]:
        return {
            "path": str(subject.path),
            "texts": [str(path) for path in self._text.paths],
            "chat_format": self._text.chat_format,
            "context_size": self._text.context_size,
            "first_chunk": first,
            "chunks": chunks,
            "threads": self._threads,
            "reference": None if self._reference is None else str(self._store),
            "writes_reference": subject is self._reference,
            "scores": str(scores),
        }

    @property
    def _store(self) -> Path:
        return self.directory / "reference"

    def _place(self, subject: Subject, first: int, chunks: int) -> Path:
        return self.directory / f"{subject.sha256[:40]}-{first}-{chunks}.npz"

    def _key(self, subject: Subject, first: int, chunks: int) -> dict[str, Any]:
        return {**self._settings, "model": subject.sha256, "first_chunk": first, "chunks": chunks}


def evaluate_in_rounds(
    evaluator: Evaluator,
    reference: Subject | None,
    subjects: Sequence[Subject],
    limits: Limits,
    *,
    found: Callable[[Subject, dict[str, Any]], None],
    failed: Callable[[Subject, LocalLLMError], None],
    begins: Callable[[Subject, int], None],
) -> QualityFindings:
    """Evaluate all of `subjects`, the reference among them, until they can be told apart or a limit is met.

    `found` gets the figures of a file after each of its rounds, `failed` what ended one: the others go on,
    unless it is the reference. `begins` hears what is evaluated, and how many chunks. Raise UsageError.
    """
    ordered = sorted(subjects, key=lambda subject: subject is not reference)
    parts: dict[str, list[Scores]] = {subject.level: [] for subject in subjects}
    findings, available, spent = QualityFindings(), None, 0.0
    while True:
        chunks = next_chunks(
            findings.chunks,
            available=available,
            limit=limits.chunks,
            seconds=_time_left(limits, spent, findings.chunks),
        )
        if not chunks:
            break
        evaluated = chunks
        for subject in list(ordered):
            begins(subject, findings.chunks + chunks)
            try:
                part = evaluator.evaluate(subject, findings.chunks, chunks)
            except UsageError:  # wrong for every file
                raise
            except LocalLLMError as error:
                failed(subject, error)
                ordered.remove(subject)
                del parts[subject.level]
                if subject is reference:
                    return QualityFindings()
                continue
            available, evaluated, spent = part.available, part.chunks, spent + part.seconds
            parts[subject.level].append(part.scores)
            found(subject, _figures(Scores.joined(parts[subject.level])))
        if not ordered:
            break
        findings.chunks += evaluated
        findings.scores = {level: Scores.joined(scores) for level, scores in parts.items()}
        findings.tokens = max(map(len, findings.scores.values()))
        compared = {level: scores for level, scores in findings.scores.items() if scores.is_compared}
        findings.undecided = undecided_pairs(compared, _same_files(ordered))
        if not findings.undecided:
            break
    return findings


def _time_left(limits: Limits, spent: float, chunks: int) -> tuple[float, float] | None:
    """Return the seconds left and those a chunk takes in all files together; None without a limit."""
    if limits.seconds is None:
        return None
    return limits.seconds - spent, spent / chunks if chunks else limits.seconds_per_chunk


def _same_files(subjects: Sequence[Subject]) -> list[set[str]]:
    by_content: dict[str, set[str]] = {}
    for subject in subjects:
        by_content.setdefault(subject.sha256, set()).add(subject.level)
    return [levels for levels in by_content.values() if len(levels) > 1]


def _figures(scores: Scores) -> dict[str, Any]:
    """Return the figures of a measurement that follow from scores; of the reference only the perplexity."""
    quality = summarise(scores)
    names = (
        "perplexity",
        "perplexity_ratio",
        "kl_divergence",
        "kl_divergence_p99",
        "same_top_token",
        "rms_delta_p",
    )
    found: dict[str, Uncertain | None] = {name: getattr(quality, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
