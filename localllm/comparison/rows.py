"""The rows of a comparison while it is made: what is known of each file, shown as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from localllm.comparison.data import to_data
from localllm.comparison.measurement import Measurement
from localllm.comparison.subject import Subject
from localllm.comparison.wishes import SpeedSettings
from localllm.errors import LocalLLMError
from localllm.events import Emit, Found, Notice

STEP = "compare"


class Rows:
    """A row for each of `subjects`, the smallest file first; one that failed keeps its row, and says why."""

    def __init__(
        self, subjects: Sequence[Subject], reference: Subject, speed: SpeedSettings, emit: Emit
    ) -> None:
        self.subjects = sorted(subjects, key=lambda subject: (subject.size_bytes, subject.bits_per_weight))
        self._reference = reference
        self._emit = emit
        tokens = speed.depth + max(speed.prompt_tokens, speed.generated_tokens)
        self._rows = {subject.path: self._described(subject, tokens) for subject in self.subjects}

    def __getitem__(self, subject: Subject) -> Measurement:
        return self._rows[subject.path]

    @property
    def sound(self) -> list[Subject]:
        """The files that did not fail, the reference first."""
        sound = [subject for subject in self.subjects if self.runs(subject)]
        return sorted(sound, key=lambda subject: subject is not self._reference)

    def runs(self, subject: Subject) -> bool:
        """Tell whether nothing of a file failed yet."""
        return self[subject].error is None

    def update(self, subject: Subject, **figures: Any) -> None:
        """Enter `figures`, fields of Measurement, and show the row."""
        self._rows[subject.path] = replace(self[subject], **figures)
        self.show(subject)

    def fail(self, subject: Subject, error: LocalLLMError) -> None:
        """Enter why a file could not be measured, and tell it."""
        self.update(subject, error=error.message)
        self._emit(Notice(f"{subject.level}: {error.message}", error.hint))

    def show(self, subject: Subject) -> None:
        """Show a row as it is."""
        self._emit(Found(STEP, "measurement", to_data(self[subject])))

    def _described(self, subject: Subject, tokens: int) -> Measurement:
        """Return what is known of a file without running it; it is to run with so many tokens."""
        return Measurement(
            level=subject.level,
            path=str(subject.path),
            size_bytes=subject.size_bytes,
            bits_per_weight=subject.bits_per_weight,
            parameters=subject.parameters,
            sha256=subject.sha256,
            is_reference=subject is self._reference,
            share_of_reference=subject.size_bytes / self._reference.size_bytes,
            estimated_memory_bytes=subject.running_bytes(tokens),
        )
