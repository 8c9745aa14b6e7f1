"""Ctrl-C and the other ways to be stopped while a model speaks.

A KeyboardInterrupt would be lost inside llama.cpp's callbacks, and with it what was said. So a signal only
asks the engine to stop, and who asked to leave does so when the answer has been kept.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

_LEAVING = ("SIGTERM", "SIGHUP")  # the window was closed


class ControlC(KeyboardInterrupt):
    """Ctrl-C was pressed while a command ran."""


class Stop:
    """Whether somebody asked to stop, and whether to leave altogether."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self.requested = False
        self.leaving = False

    def again(self) -> None:
        """Ask once more: the engine may have been between two requests when it was asked."""
        if self.requested:
            self._interrupt()

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Stop what is said: the handler of Ctrl-C."""
        self.requested = True
        self._interrupt()

    def leave(self, _signal: int, _frame: FrameType | None) -> None:
        """Stop and leave: the handler of signals that end a process."""
        self.leaving = True
        self.stop(_signal, _frame)


@contextmanager
def stoppable(interrupt: Callable[[], None], *, hides_keys: bool = False) -> Iterator[Stop]:
    """Make signals call `interrupt`; afterwards raise KeyboardInterrupt if one of them asked to leave.

    With `hides_keys`, what is typed meanwhile does not show up, and stays in line for the next message.
    """
    stop = Stop(interrupt)
    handlers: dict[int, Any] = {signal.SIGINT: stop.stop}
    handlers |= {number: stop.leave for name in _LEAVING if (number := getattr(signal, name, None))}
    with _handled(handlers), _silent_keys() if hides_keys else nullcontext():
        yield stop
    if stop.leaving:
        raise KeyboardInterrupt


@contextmanager
def held_at_terminal() -> Iterator[None]:
    """Make Ctrl-C raise ControlC, which ends a command alone, and leave when the terminal goes away."""
    handlers: dict[int, Any] = {signal.SIGINT: _raise_control_c}
    if (number := getattr(signal, "SIGHUP", None)) is not None:
        handlers[number] = signal.default_int_handler
    with _handled(handlers):
        yield


def _raise_control_c(_signal: int, _frame: FrameType | None) -> None:
    raise ControlC


@contextmanager
def _handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    """Use other signal handlers, but not for what is to be ignored: in the background, under nohup."""
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _silent_keys() -> Iterator[None]:
    """Keep keys from showing up inside an answer."""
    before = _attributes()
    if before is None:
        yield
        return
    silent = list(before)
    silent[3] &= _SILENT
    _set_attributes(silent)
    try:
        yield
    finally:
        _set_attributes(before)


if sys.platform == "win32":
    _SILENT = -1

    def _attributes() -> list[Any] | None:
        return None

    def _set_attributes(attributes: list[Any]) -> None:
        return

else:
    import termios

    _SILENT = ~(termios.ECHO | termios.ICANON)

    def _attributes() -> list[Any] | None:
        """Return how the terminal on stdin treats keys; None when there is none, or it is somebody else's."""
        try:
            descriptor = sys.stdin.fileno()
            is_ours = os.tcgetpgrp(descriptor) == os.getpgrp()
            return termios.tcgetattr(descriptor) if is_ours else None
        except (OSError, ValueError, termios.error):
            return None

    def _set_attributes(attributes: list[Any]) -> None:
        with suppress(termios.error):  # it went away
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, attributes)
