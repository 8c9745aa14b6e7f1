"""Puts the questions of a task to a model: to one process, or of a small model to one for each thread.

The threads of one process meet at a barrier many times for each token. For a small model that takes longer
than the computing, all the more when something else wants the cores; processes of one thread need not wait
for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from localllm.events import Emit
from localllm.native.worker import Worker

QUESTIONS_JOB = "localllm.comparison.answering:questions_job"
_FEWEST_QUESTIONS = 16  # for a process of its own, which takes a while to start
_MOST_BYTES = 1024**3  # of all copies of the weights together


def processes_for(questions: int, weight_bytes: int, threads: int) -> int:
    """Return how many processes of one thread to ask, 1 for a single one with all threads."""
    if weight_bytes * threads > _MOST_BYTES:
        return 1
    return max(1, min(threads, questions // _FEWEST_QUESTIONS))


def ask_together(
    path: Path, questions: Sequence[dict[str, Any]], processes: int, *, emit: Emit
) -> list[str | int]:
    """Return the answers to `questions` in order, from so many processes at once; see `answering`.

    Raise what one of them raises.
    """
    answers: dict[int, str | int] = {}
    parts = [range(first, len(questions), processes) for first in range(processes)]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in parts]
        for worker, part in zip(workers, parts, strict=True):
            asked = [questions[index] for index in part]
            worker.begin(QUESTIONS_JOB, {"path": str(path), "questions": asked, "threads": 1})
        for worker, part in zip(workers, parts, strict=True):
            answers.update(zip(part, worker.result(emit), strict=True))
    return [answers[index] for index in range(len(questions))]
