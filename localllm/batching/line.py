"""Who waits for a slot, and who comes next; used from many threads.

First come, first served, but one request with many answers does not hold up all others: whoever has the
fewest answers in slots is next, of these the one that came first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from localllm.batching.job import Job
from localllm.errors import QueueFullError, UnavailableError


class Line:
    """Jobs of which answers have not begun. `changed` is notified of new ones."""

    def __init__(self, most: int, changed: threading.Condition) -> None:
        self._most = most
        self._changed = changed
        self._jobs: list[Job] = []
        self._is_closed = False

    @property
    def length(self) -> int:
        """Return how many requests wait of which nothing has begun."""
        with self._changed:
            return sum(not job.has_begun for job in self._jobs)

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def put(self, job: Job, free_slots: int, retry_after: Callable[[int], int]) -> None:
        """Append a job. Raise QueueFullError, UnavailableError when closed."""
        with self._changed:
            if self._is_closed:
                raise UnavailableError("the engine is stopping")
            waiting = self.length
            if waiting >= self._most + free_slots:
                raise QueueFullError(
                    f"{waiting} requests are waiting already",
                    hint="try again later",
                    retry_after_seconds=retry_after(waiting),
                )
            self._jobs.append(job)
            self._changed.notify_all()

    def next(self) -> Job | None:
        """Return the job whose next answer is to begin."""
        with self._changed:
            return min(self._jobs, key=lambda job: (len(job.running), job.number), default=None)

    def leave(self, job: Job) -> None:
        """Take a job out, if it is still in."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
            self._changed.notify_all()

    def close(self) -> list[Job]:
        """Let nobody in any more; take out and return those of whom nothing has begun."""
        with self._changed:
            self._is_closed = True
            left = [job for job in self._jobs if not job.has_begun]
            self._jobs = [job for job in self._jobs if job.has_begun]
            return left

    def clear(self) -> list[Job]:
        """Take out and return all."""
        with self._changed:
            self._is_closed = True
            left, self._jobs = self._jobs, []
            return left
