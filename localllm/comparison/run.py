"""Goes through the files of a comparison, what is cheap first: speed and memory, quality, answers, tasks.

Each file is measured in child processes; when one dies its row says why, and the others go on. What was
measured before is taken from what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from localllm.benchmark import Doubt, doubt_about, spread_of
from localllm.comparison.advice import advise, listed
from localllm.comparison.answers import greedy_answers
from localllm.comparison.asking import QUESTIONS_JOB, ask_together, processes_for
from localllm.comparison.history import keep_run, new_id
from localllm.comparison.kept_figures import KeptFigures
from localllm.comparison.machine_facts import machine_facts
from localllm.comparison.measurement import (
    ComparisonResult,
    Machine,
    Settings,
    Speed,
)
from localllm.comparison.places import forget_old_references, remove_leftovers
from localllm.comparison.quality import Evaluator, QualityFindings, Text, evaluate_in_rounds
from localllm.comparison.rows import STEP, Rows
from localllm.comparison.subject import Subject
from localllm.comparison.tasks import Task, score
from localllm.comparison.wishes import Wishes
from localllm.errors import LocalLLMError, UsageError
from localllm.evaluation import text_looks_unlike_chat
from localllm.events import Advanced, Emit, Finished, Notice, Started, ignore
from localllm.machine import available_memory_bytes
from localllm.memory import MEMORY_SHARE, context_of
from localllm.native.worker import run_job

_LONGEST_ANSWER = 256
_BENCHMARK = "localllm.benchmark.job:benchmark_job"
_ANSWERS = "localllm.comparison.answering:answers_job"


def compare_files(
    name: str,
    source: Path | None,
    subjects: Sequence[Subject],
    reference: Subject,
    wishes: Wishes,
    *,
    notes: Sequence[str] = (),
    enters_history: bool = True,
    emit: Emit = ignore,
) -> ComparisonResult:
    """Measure all of `subjects`, files of one model with distinct levels, among them the reference.

    The result goes into the history as a comparison of `name`, unless that is switched off. A file whose
    process fails keeps its row, with the reason in `error`. Raise UsageError for a text that is too short.
    """
    result = _Comparison(subjects, reference, wishes, notes, emit).result(name, source)
    if enters_history:
        keep_run(result, emit=emit)
    remove_leftovers()
    return result


class _Comparison:
    """One comparison while it is made."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        reference: Subject,
        wishes: Wishes,
        notes: Sequence[str],
        emit: Emit,
    ) -> None:
        self._rows = Rows(subjects, reference, wishes.speed, emit)
        self._subjects = self._rows.subjects
        self._reference = reference
        self._wishes = wishes
        self._emit = emit
        self._notes = list(notes)
        self._kept = KeptFigures(force=wishes.force, emit=emit)
        self._available = available_memory_bytes()
        self._done = 0
        self._has_gpu = False

    def result(self, name: str, source: Path | None) -> ComparisonResult:
        """Measure everything and return what came out."""
        run, started = new_id()
        machine = machine_facts()
        self._has_gpu = bool(machine.devices)
        self._emit(Started(STEP, len(self._subjects) * self._stages(), "files"))
        for subject in self._subjects:
            self._rows.show(subject)
        if self._wishes.measures_speed:
            self._measure_speeds(machine)
        quality = QualityFindings() if self._wishes.text is None else self._evaluate(self._wishes.text)
        if self._wishes.prompts:
            self._let_answer()
        for task in self._wishes.tasks:
            self._ask(task)
        self._emit(Finished(STEP))
        return self._assembled(run, started, name, source, machine, quality)

    def _stages(self) -> int:
        wishes = self._wishes
        return wishes.measures_speed + (wishes.text is not None) + bool(wishes.prompts) + len(wishes.tasks)

    def _for_each(self, subjects: Sequence[Subject], measure: Callable[[Subject], None]) -> None:
        """Measure every file; one that fails keeps its row."""
        for subject in subjects:
            self._emit(Advanced(STEP, self._done, subject.level))
            try:
                measure(subject)
            except UsageError:  # wrong for every file
                raise
            except LocalLLMError as error:
                self._rows.fail(subject, error)
            self._done += 1
        self._done += len(self._subjects) - len(subjects)  # those that failed before
        self._emit(Advanced(STEP, self._done))

    def _job(self, kind: str, entry: str, subject: Subject, *, processes: int = 1, **arguments: Any) -> Any:
        """Return what a job finds out about a file; the arguments decide, but for the file's path.

        Questions can be asked of several `processes` at once.
        """
        settings = {"model": subject.sha256, **arguments}
        known = self._kept.find(kind, settings)
        if known is not None and "found" in known:
            return known["found"]
        given = {name: value for name, value in arguments.items() if name != "machine"}
        if processes > 1:
            found = ask_together(subject.path, given["questions"], processes, emit=self._emit)
        else:
            found = run_job(entry, {"path": str(subject.path), **given}, emit=self._emit)
        self._kept.keep(kind, settings, {"found": found})
        return found

    def _note(self, text: str, hint: str | None = None) -> None:
        self._notes.append(text)
        self._emit(Notice(text, hint))

    # speed ----------------------------------------------------------------------------------

    def _measure_speeds(self, machine: Machine) -> None:
        where = [machine.processor, machine.cores, *machine.devices]
        doubts: dict[Doubt, list[str]] = {}
        self._for_each(self._subjects, lambda subject: self._measure_speed(subject, where, doubts))
        for doubt, levels in doubts.items():
            names = listed(list(dict.fromkeys(levels)))
            self._note(f"speed of {names}: {doubt}", hint="`--force` measures again")

    def _measure_speed(self, subject: Subject, where: list[Any], doubts: dict[Doubt, list[str]]) -> None:
        wishes = self._wishes
        found = self._job(
            "speed", _BENCHMARK, subject, threads=wishes.threads, machine=where, **asdict(wishes.speed)
        )
        speeds = {}
        suspected = [] if found["was_idle"] else [Doubt.BUSY]
        for kind in ("prompt", "generation"):
            samples = found[f"{kind}_samples"]
            speeds[f"{kind}_tokens_per_second"] = _speed(samples)
            doubt = doubt_about(samples)
            suspected += [] if doubt is None else [doubt]
        for doubt in suspected:
            doubts.setdefault(doubt, []).append(subject.level)
        self._rows.update(
            subject,
            load_seconds=found["load_seconds"],
            cold_load_seconds=found["cold_load_seconds"],
            peak_memory_bytes=found["peak_memory_bytes"],
            **speeds,
        )

    # quality --------------------------------------------------------------------------------

    def _evaluate(self, text: Text) -> QualityFindings:
        if text.source != "model" and text_looks_unlike_chat(self._reference.header, text.chat_format):
            self._note(
                "the text is plain, but this model is for chats: `--chat-format` makes conversations of it"
            )
        findings = QualityFindings()
        begun = self._done
        if self._rows.runs(self._reference):
            findings = self._evaluate_against(self._reference, text, begun)
        if not self._rows.runs(self._reference):
            self._note("the reference could not be run: there is nothing to compare the quality with")
            findings = self._evaluate_against(None, text, begun)
        self._done = begun + len(self._subjects)
        forget_old_references()
        return findings

    def _evaluate_against(self, reference: Subject | None, text: Text, begun: int) -> QualityFindings:
        sound = self._rows.sound
        evaluator = Evaluator(reference, text, self._wishes.threads, self._kept, emit=self._emit)
        forget_old_references(keep=[evaluator.directory])

        def begins(subject: Subject, chunks: int) -> None:
            self._done = begun + sound.index(subject)
            self._emit(Advanced(STEP, self._done, f"{subject.level}, {chunks} chunks"))

        return evaluate_in_rounds(
            evaluator,
            reference,
            sound,
            replace(self._wishes.limits, seconds_per_chunk=self._expected_seconds(sound, text.context_size)),
            found=lambda subject, figures: self._rows.update(subject, **figures),
            failed=self._rows.fail,
            begins=begins,
        )

    def _expected_seconds(self, subjects: Sequence[Subject], tokens: int) -> float:
        """Return about how long reading so many tokens takes in all files together; 0 when nobody knows."""
        speeds = [self._rows[subject].prompt_tokens_per_second for subject in subjects]
        return sum(tokens / speed.value for speed in speeds if speed is not None)

    # answers --------------------------------------------------------------------------------

    def _let_answer(self) -> None:
        prompts = list(self._wishes.prompts)
        of_reference: list[Any] = []

        def answer(subject: Subject) -> None:
            said = self._job(
                "answers",
                _ANSWERS,
                subject,
                prompts=prompts,
                max_tokens=_LONGEST_ANSWER,
                threads=self._wishes.threads,
            )
            if subject is self._reference:
                of_reference.extend(said)
                self._rows.update(subject, answers=greedy_answers(prompts, said, None))
            else:
                self._rows.update(subject, answers=greedy_answers(prompts, said, of_reference or None))

        self._for_each(self._rows.sound, answer)

    def _ask(self, task: Task) -> None:
        asked = [question.asked() for question in task.questions]

        def ask(subject: Subject) -> None:
            processes = 1
            if not self._has_gpu:
                processes = processes_for(len(asked), subject.weight_bytes, self._wishes.threads)
            answers = self._job(
                "questions",
                QUESTIONS_JOB,
                subject,
                processes=processes,
                questions=asked,
                threads=self._wishes.threads if processes == 1 else 1,
            )
            tasks = (*self._rows[subject].tasks, score(task, answers))
            self._rows.update(subject, tasks=tasks)

        self._for_each(self._rows.sound, ask)

    # result ---------------------------------------------------------------------------------

    def _assembled(
        self,
        run: str,
        started: str,
        name: str,
        source: Path | None,
        machine: Machine,
        quality: QualityFindings,
    ) -> ComparisonResult:
        rows = tuple(self._rows[subject] for subject in self._subjects)
        settings = self._settings(quality)
        speed = self._wishes.speed
        context = max(
            context_of(self._reference.header),
            speed.depth + max(speed.prompt_tokens, speed.generated_tokens),
        )
        room = MEMORY_SHARE * self._available
        return ComparisonResult(
            id=run,
            model=name,
            started=started,
            reference=self._reference.level,
            measurements=rows,
            settings=settings,
            machine=machine,
            notes=tuple(dict.fromkeys(self._notes)),
            undecided=tuple(quality.undecided),
            advice=advise(
                rows,
                settings,
                fits={subject.level: subject.running_bytes(context) <= room for subject in self._subjects},
                context_size=context,
                undecided=quality.undecided,
            ),
            source=None if source is None else str(source),
        )

    def _settings(self, quality: QualityFindings) -> Settings:
        wishes, text = self._wishes, self._wishes.text
        return Settings(
            threads=wishes.threads,
            **asdict(wishes.speed),
            context_size=0 if text is None else text.context_size,
            chunks=quality.chunks,
            evaluated_tokens=quality.tokens,
            texts=() if text is None else tuple(str(path) for path in text.paths),
            text_source="" if text is None else text.source,
            chat_format=text is not None and text.chat_format,
            max_kl_divergence=wishes.max_kl_divergence,
            min_same_top_token=wishes.min_same_top_token,
        )


def _speed(samples: Sequence[float]) -> Speed:
    spread = spread_of(samples)
    return Speed(spread.median, spread.stderr, spread.low, spread.high, tuple(samples))
