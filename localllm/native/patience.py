"""Lets Ctrl-C end the loading of a model, which is one long call of C.

The main thread waits while another one loads; what is raised in the main thread makes llama.cpp stop at its
next report of progress.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable
from typing import Any

_WAIT_SECONDS = 0.2  # Windows delivers Ctrl-C only between waits


def _goes_on(progress: float, flag_address: int) -> bool:
    """Tell llama.cpp whether to go on loading: reads the flag; never raises."""
    return bool(ctypes.c_bool.from_address(flag_address).value)


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_float, ctypes.c_void_p)(_goes_on)


def load_patiently(load: Callable[[Any], Any], params: Any, free: Callable[[Any], None]) -> Any:
    """Return `load(params)`; when the wait is ended by an exception, stop loading, `free` and raise it."""
    if threading.current_thread() is not threading.main_thread():
        return load(params)  # signals go to the main thread
    flag = ctypes.c_bool(True)
    params.progress_callback = _CALLBACK
    params.progress_callback_user_data = ctypes.addressof(flag)
    loaded: list[Any] = []
    # not `join`: interrupted once, it takes a running thread for one that has ended (CPython 3.11)
    done = threading.Event()

    def run() -> None:
        try:
            loaded.append(load(params))
        finally:
            done.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        _wait_for(done)
    except BaseException:
        flag.value = False
        while not done.is_set():
            with contextlib.suppress(KeyboardInterrupt):  # it is on its way out already
                _wait_for(done)
        if loaded and loaded[0]:
            free(loaded[0])
        raise
    return loaded[0]


def _wait_for(event: threading.Event) -> None:
    while not event.wait(_WAIT_SECONDS):
        pass
