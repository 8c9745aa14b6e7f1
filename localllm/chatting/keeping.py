"""Keeps a conversation on disk while it is held: the messages always, what the engine has read when it pays.

A conversation goes on when it cannot be saved. That is told once, every message tries again, and so does the
end.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace

from localllm import states
from localllm.engine import Engine, Statistics
from localllm.errors import SessionError, StorageError
from localllm.events import Emit, Notice
from localllm.sessions import ChangedError, Saved, Session

_SAVE_SECONDS = 1.0  # how much of an answer a killed process may lose
_STATE_AT_RISK_SECONDS = 10.0  # reading again that is worth a state on disk at once, not only at the end

Memory = Session | None  # where a conversation is kept; None keeps nothing


class Keeper:
    """Writes one conversation into its session, if it has one."""

    def __init__(self, memory: Memory, emit: Emit) -> None:
        self.memory = memory
        self._emit = emit
        self._last: Saved | None = None  # what was to be saved last
        self._problem: str | None = None  # why that failed
        self._next_save = 0.0
        self._writer: threading.Thread | None = None
        self._has_unkept = False
        self._unkept_seconds = 0.0

    @property
    def saved(self) -> Saved:
        """Return what is saved, without the latest changes when saving failed."""
        return self.memory.saved if self.memory else Saved()

    def save(self, content: Saved) -> None:
        """Write the conversation; when that fails say so, but only the first time in a row."""
        if self.memory is None:
            return
        self._wait()
        self._last = content
        try:
            self._write(self.memory, content)
        except (StorageError, SessionError) as error:
            if self._problem is None:
                also = f"; {error.hint}" if error.hint else ""
                hint = f"it goes on, and the next message tries again{also}"
                self._emit(
                    Notice(f"the conversation is not saved: {error.message}", hint=hint, topic="unsaved")
                )
            self._problem = error.message
        else:
            if self._problem is not None:
                self._emit(Notice("the conversation is saved again", topic="saved", fixed=True))
            self._problem = None
        self._next_save = time.monotonic() + _SAVE_SECONDS

    @property
    def is_due(self) -> bool:
        """Tell whether an answer that is not complete should be saved now: not while saving fails."""
        return (
            self.memory is not None
            and self._problem is None
            and time.monotonic() >= self._next_save
            and not (self._writer and self._writer.is_alive())
        )

    def save_in_passing(self, content: Saved) -> None:
        """Begin to write the conversation while an answer goes on; disks can be slow.

        Should that fail, the next `save` fails as well, and says so.
        """
        if self.memory is not None:
            self._next_save = time.monotonic() + _SAVE_SECONDS
            self._writer = threading.Thread(target=_try_to_save, args=(self.memory, content), daemon=True)
            self._writer.start()

    def _wait(self) -> None:
        """Let what is being written be finished: one at a time."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    # what the engine has read ----------------------------------------------------------------

    def restore_state(self, engine: Engine) -> None:
        """Bring back what an engine had read of the conversation, where that is certainly right."""
        if self.memory is not None and self.saved.turns:
            states.restore_state(engine, self.saved.id, emit=self._emit)

    def note_work(self, statistics: Statistics | None) -> None:
        """Take note that the engine has read something, and how long it took if that is known."""
        self._has_unkept = True
        if statistics is not None:
            self._unkept_seconds += statistics.time_to_first_token_seconds

    def forget_work(self) -> None:
        """Take note that there is nothing to keep: the engine is another one."""
        self._has_unkept, self._unkept_seconds = False, 0.0

    def keep_state_if_due(self, engine: Engine) -> None:
        """Keep a state at once when reading again would take long, should the process be killed."""
        if self._unkept_seconds >= _STATE_AT_RISK_SECONDS:
            self._keep_state(engine)

    def close(self, engine: Engine) -> None:
        """Save what is not saved, keep a state, and let others have the session; safe to call twice."""
        if self.memory is None:
            return
        self._wait()
        try:
            if self._problem is not None and self._last is not None:
                self.save(self._last)
            if self._problem is not None:
                self._emit(
                    Notice(f"the end of this conversation is not saved: {self._problem}", topic="unsaved")
                )
                self._last = self._problem = None
            else:
                self._keep_state(engine)
        finally:
            self.memory.close()

    def _keep_state(self, engine: Engine) -> None:
        if self._has_unkept and self.memory is not None and self._problem is None and self.saved.turns:
            states.keep_state(engine, self.saved.id, emit=self._emit)
            self.forget_work()

    def _write(self, memory: Session, content: Saved) -> None:
        """Write into the session; a file that another program changed stays, and a new one is begun."""
        try:
            memory.save(content)
        except ChangedError:
            old = memory.name
            memory.fork()
            memory.save(replace(content, id=Saved().id))
            self._emit(
                Notice(
                    f"another program changed the session `{old}`; this conversation goes on as "
                    f"`{memory.name}`",
                    topic="forked",
                )
            )


def _try_to_save(memory: Session, content: Saved) -> None:
    with suppress(StorageError, SessionError):
        memory.save(content)
