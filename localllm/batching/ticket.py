"""The caller's hold on a request: it may be given up from any thread, and hears nothing afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable

from localllm.batching.requests import Delta
from localllm.errors import LocalLLMError
from localllm.events import Emit, Notice

Deliver = Callable[[Delta], None]
Fail = Callable[[LocalLLMError], None]


class Ticket:
    """Passes on what an answer gains until the request is over: answered, failed or cancelled."""

    def __init__(self, deliver: Deliver, fail: Fail, emit: Emit) -> None:
        self._lock = threading.RLock()  # callbacks may cancel
        self._callbacks: tuple[Deliver, Fail] | None = (deliver, fail)
        self._emit = emit
        self._when_cancelled: Callable[[], None] | None = None
        self.is_cancelled = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is passed on any more."""
        return self._callbacks is None

    def cancel(self) -> None:
        """Give the request up; when this returns no callback runs, and none will."""
        with self._lock:
            if self._callbacks is None:
                return
            self.is_cancelled = True
            when_cancelled = self._when_cancelled
            self._end()
        if when_cancelled is not None:
            when_cancelled()

    def on_cancel(self, call: Callable[[], None]) -> None:
        """Have `call` called once when the request is given up, now if it already was."""
        with self._lock:
            if self._callbacks is not None:
                self._when_cancelled = call
                return
        if self.is_cancelled:
            call()

    def send(self, delta: Delta) -> None:
        """Pass on a piece of an answer; the one with the usage is the last."""
        with self._lock:
            if self._callbacks is None:
                return
            deliver, _ = self._callbacks
            try:
                deliver(delta)
            except Exception as error:
                self._tell(error)
                self.cancel()
                return
            if delta.usage is not None:
                self._end()

    def fail(self, error: LocalLLMError) -> None:
        """Tell that nothing more comes, and why."""
        with self._lock:
            if self._callbacks is None:
                return
            _, fail = self._callbacks
            self._end()
            try:
                fail(error)
            except Exception as failure:
                self._tell(failure)

    def _end(self) -> None:
        self._callbacks = self._when_cancelled = None  # whatever they hold on to goes free

    def _tell(self, error: Exception) -> None:
        """A caller's mistake must not end the answers of others, nor go unseen."""
        self._emit(Notice(f"whoever asked fails to listen: {error!r}", topic="listener-failed"))
