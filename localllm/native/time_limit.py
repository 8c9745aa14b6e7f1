"""Runs a Python function that might never return, such as an untrusted chat template.

The function runs in a thread; when its time is over an exception is raised inside that thread, which
ends any loop written in Python. Works on every platform and outside the main thread, unlike signals.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class _TimeOverError(BaseException):
    """Raised inside the thread; not an Exception, so that the function cannot swallow it by accident."""


def call_with_limit(function: Callable[[], Result], seconds: float) -> Result:
    """Return `function()`, or raise TimeoutError when it takes longer than `seconds`."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except _TimeOverError:
            return
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _raise_in(thread)
        raise TimeoutError
    if failures:
        raise failures[0]
    return results[0]


def _raise_in(thread: threading.Thread) -> None:
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_TimeOverError)
        )
