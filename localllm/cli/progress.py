"""Draws running operations as bars on stderr; invisible when stderr is not a terminal."""

from __future__ import annotations

from typing import Any

from localllm.control_filter import clean
from localllm.events import Advanced, Event, Finished, Started


class ProgressView:
    """One bar per running step. `pause` clears the screen for other output; the next event redraws."""

    def __init__(self, *, visible: bool) -> None:
        self._visible = visible
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}
        self._begun: dict[str, tuple[int | None, str]] = {}

    def show(self, event: Event) -> None:
        """Update the bars with an event."""
        if not self._visible:
            return
        if isinstance(event, Started):
            self._begun[event.step] = event.total, event.unit
        elif isinstance(event, Advanced):
            self._advance(event)
        elif isinstance(event, Finished):
            self._finish(event.step)

    def pause(self) -> None:
        """Take the bars off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()

    def _advance(self, event: Advanced) -> None:
        progress = self._started()
        if event.step not in self._tasks:
            from localllm.cli.progress_bars import shortened

            total, unit = self._begun.get(event.step, (None, ""))
            self._tasks[event.step] = progress.add_task(
                shortened(clean(event.step)), total=total, completed=event.done, unit=unit, detail=""
            )
        progress.update(self._tasks[event.step], completed=event.done, detail=clean(event.detail)[:40])

    def _finish(self, step: str) -> None:
        if self._progress is not None and step in self._tasks:
            self._progress.remove_task(self._tasks.pop(step))
            if not self._tasks:
                self.pause()

    def _started(self) -> Any:
        if self._progress is None:
            self._progress = self._new_bars()
            self._progress.start()
        return self._progress

    def _new_bars(self) -> Any:
        from localllm.cli.progress_bars import new_bars

        return new_bars()
