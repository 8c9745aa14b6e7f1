"""The engine's thread: ticks while there is work, and comes to its end in time."""

from __future__ import annotations

import threading
import time

from localllm.batching.batcher import Batcher
from localllm.batching.job import Job
from localllm.batching.line import Line
from localllm.errors import UnavailableError
from localllm.native.context import Context


class Worker:
    """A thread that runs `batcher`. `changed` is notified when something waits in `line`."""

    def __init__(self, batcher: Batcher, line: Line, context: Context, changed: threading.Condition) -> None:
        self._batcher = batcher
        self._line = line
        self._context = context
        self._changed = changed
        self._is_stopping = False
        self._is_idle = True
        self._thread = threading.Thread(target=self._run, name="localllm-engine", daemon=True)
        self._thread.start()

    @property
    def busy_slots(self) -> int:
        """Return how many answers are being given."""
        return self._batcher.busy_slots

    @property
    def free_slots(self) -> int:
        """Return how many answers could begin at once."""
        return self._batcher.free_slots

    @property
    def job_seconds(self) -> float:
        """Return what a request takes on the average, of late."""
        return self._batcher.job_seconds

    def make_way(self, job: Job) -> None:
        """Let a job that has come begin soon."""
        self._batcher.make_way(job)

    def stop(self, grace_seconds: float) -> None:
        """End the thread: what waits fails now, what runs when it has not ended in `grace_seconds`."""
        error = UnavailableError("the engine is stopping")
        for job in self._line.close():
            job.ticket.fail(error)
        deadline = time.monotonic() + grace_seconds
        with self._changed:
            while not self._is_idle and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._is_stopping = True
            self._changed.notify_all()
        self._context.interrupt()
        self._thread.join()

    def _run(self) -> None:
        error = UnavailableError("the engine is stopping")
        try:
            while self._has_work():
                self._batcher.tick()
        except BaseException as failure:
            error = UnavailableError(f"the engine broke: {failure!r}")
            raise
        finally:
            self._end(error)

    def _has_work(self) -> bool:
        """Wait until there is something to do; False: it is time to end."""
        with self._changed:
            while not self._is_stopping:
                if self._batcher.is_busy or self._line:
                    self._is_idle = False
                    return True
                self._is_idle = True
                self._changed.notify_all()
                self._changed.wait()
            return False

    def _end(self, error: UnavailableError) -> None:
        for job in self._line.clear():
            if not job.has_begun:
                job.ticket.fail(error)
        self._batcher.fail_all(error)
        with self._changed:
            self._is_idle = True
            self._changed.notify_all()
