"""Ctrl-C ends the loading of a model: with a stand-in for a load that would take for ever."""

from __future__ import annotations

import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from localllm.native.patience import load_patiently


def slow_load(params: Any) -> int:
    """Load like llama.cpp: report progress, stop when told to."""
    while params.progress_callback(0.5, params.progress_callback_user_data):
        time.sleep(0.005)
    return 0


def test_what_is_loaded_is_returned() -> None:
    assert load_patiently(lambda params: 7, SimpleNamespace(), lambda handle: None) == 7


def test_ctrl_c_ends_it() -> None:
    threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        load_patiently(slow_load, SimpleNamespace(), lambda handle: pytest.fail("there is nothing to free"))
    assert time.monotonic() - started < 5


def test_what_was_loaded_nevertheless_is_freed() -> None:
    freed: list[int] = []

    def stubborn(params: Any) -> int:
        slow_load(params)
        return 9

    threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        load_patiently(stubborn, SimpleNamespace(), freed.append)
    assert freed == [9]


def test_off_the_main_thread_it_simply_loads() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(load_patiently(lambda _: 5, SimpleNamespace(), id)))
    thread.start()
    thread.join()
    assert found == [5]
