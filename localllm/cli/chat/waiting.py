"""Says that something goes on while nothing is to be seen yet, and takes that back when there is."""

from __future__ import annotations

import sys
import threading
import time

from localllm.cli.chat.looks import Looks

_PATIENCE_SECONDS = 0.7  # what takes no longer is not worth a word
_STEP_SECONDS = 0.5


class Waiting:
    """A line on stderr such as `reading… 3 s` until `done`; nothing where it could not be erased."""

    def __init__(self, what: str, looks: Looks) -> None:
        self.what = what
        self._looks = looks
        self._began = time.monotonic()
        self._is_over = threading.Event()
        self._is_shown = False
        self._thread = threading.Thread(target=self._run, daemon=True) if looks.moves else None
        if self._thread:
            self._thread.start()

    def done(self) -> None:
        """Erase the line, if there is one, and be silent from now on."""
        if self._thread is None:
            return
        self._is_over.set()
        self._thread.join()
        self._thread = None
        if self._is_shown:
            _write("\r\x1b[K")

    def _run(self) -> None:
        pause = _PATIENCE_SECONDS
        while not self._is_over.wait(pause):
            pause, self._is_shown = _STEP_SECONDS, True
            _write("\r" + self._looks.dim(f"{self.what}… {time.monotonic() - self._began:.0f} s") + "\x1b[K")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
