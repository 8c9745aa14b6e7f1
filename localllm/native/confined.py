"""Runs Python functions over untrusted input in a child process with limits on time and memory.

A template or a grammar can loop for ever inside one C function or ask for a terabyte, which no thread can
stop; a process can be ended. `Confined` is one such child, started when first needed and again after it had
to be killed. Calls cost about as much as a pipe; arguments and results are JSON.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

Function = Callable[[dict[str, Any]], Any]

_MEGABYTE = 1024 * 1024
_START_SECONDS = 60.0  # a busy machine may take long to start a process; that is not the function's fault
_PATIENCE = 5  # on a busy machine a call may wait so many times longer for the processor time it is given
_ORPHAN_SECONDS = 5.0  # a child whose parent died goes on for so much longer at most
_LOOK_SECONDS = 0.05  # how often a running call is looked at


class ConfinementError(Exception):
    """The function did not return: it raised (`message` is what), or had to be stopped (`stopped`)."""

    def __init__(self, message: str, *, stopped: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.stopped = stopped


class Confined:
    """A child process that may use `megabytes` of memory; it begins by importing the module `preload`."""

    def __init__(self, megabytes: int, *, preload: str) -> None:
        self._megabytes = megabytes
        self._preload = preload
        self._lock = threading.Lock()
        self._child: _Child | None = None
        atexit.register(self.close)

    def start(self) -> None:
        """Begin to start the child, so that it is ready when it is called; returns at once."""
        with self._lock:
            self._ready_child()

    def call(self, entry: str, arguments: dict[str, Any], seconds: float) -> Any:
        """Return what the function `entry` ("module:function") returns for `arguments`.

        Raise ConfinementError when it raises, takes more than `seconds` of a processor's time or more memory
        than allowed.
        """
        with self._lock:
            child = self._ready_child()
            try:
                return child.call(entry, arguments, seconds)
            except ConfinementError as error:
                if error.stopped:
                    self._child = None
                raise
            except BaseException:  # also Ctrl-C: the answer would be taken for that of the next call
                self._child = None
                child.stop()
                raise

    def close(self) -> None:
        """End the child."""
        with self._lock:
            if self._child is not None:
                self._child.stop()
                self._child = None

    def _ready_child(self) -> _Child:
        if self._child is None:
            self._child = _Child(self._megabytes, self._preload)
        return self._child


class _Child:
    """The parent's side of one child process."""

    def __init__(self, megabytes: int, preload: str) -> None:
        self._limit_bytes = 2 * megabytes * _MEGABYTE  # where the system does not enforce it, we look
        self._process = subprocess.Popen(
            [sys.executable, "-m", "localllm.native.confined", str(megabytes), preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            **_own_session(),
        )
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        self._ready = False

    def call(self, entry: str, arguments: dict[str, Any], seconds: float) -> Any:
        if not self._ready:
            self._answer(_START_SECONDS, "start", patience=1)
            self._ready = True
        request = json.dumps({"entry": entry, "arguments": arguments, "seconds": seconds}).encode()
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(request + b"\n")
            self._process.stdin.flush()
        except OSError:
            self.stop()
            raise ConfinementError("ended unexpectedly", stopped=True) from None
        answer = self._answer(seconds, "finish", patience=_PATIENCE)
        if "error" in answer:
            raise ConfinementError(answer["error"])
        return answer["result"]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    def _answer(self, seconds: float, what: str, *, patience: float) -> dict[str, Any]:
        """Wait for a line from the child; stop it and raise when none comes.

        It may take `seconds` of a processor's time, and `patience` times as long by the clock.
        """
        began = time.monotonic()
        used: float | None = None  # before; most answers come sooner than anybody needs to look
        while True:
            try:
                line = self._answers.get(timeout=min(_LOOK_SECONDS, seconds))
            except queue.Empty:
                waited = time.monotonic() - began
                used = self._processor_seconds() - waited if used is None else used
                if waited >= patience * seconds or self._processor_seconds() - used >= seconds:
                    reason = f"did not {what} within {seconds:g} seconds"
                elif self._is_too_large():
                    reason = "takes too much memory"
                else:
                    continue
            else:
                if line:
                    answer: dict[str, Any] = json.loads(line)
                    return answer
                reason = "ended unexpectedly"
            self.stop()
            raise ConfinementError(reason, stopped=True)

    def _processor_seconds(self) -> float:
        """Return what the child has used of a processor."""
        import psutil

        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def _is_too_large(self) -> bool:
        import psutil

        try:
            return int(psutil.Process(self._process.pid).memory_info().rss) > self._limit_bytes
        except psutil.Error:
            return False

    def _listen(self, stdout: IO[bytes]) -> None:
        """Take in answers; an empty one stands for the end."""
        with contextlib.suppress(OSError, ValueError):
            for line in stdout:
                self._answers.put(line)
        self._answers.put(b"")


def main() -> None:
    """Serve calls until standard input ends: the child's side."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    importlib.import_module(sys.argv[2])
    _limit_memory(int(sys.argv[1]) * _MEGABYTE)
    _send(channel, {})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        module, _, name = request["entry"].partition(":")
        _arm(_PATIENCE * request["seconds"] + _ORPHAN_SECONDS)
        try:
            function: Function = getattr(importlib.import_module(module), name)
            answer = {"result": function(request["arguments"])}
        except MemoryError:
            answer = {"error": "takes too much memory"}
        except RecursionError:
            answer = {"error": "is nested too deeply"}
        except Exception as error:
            answer = {"error": (str(error).splitlines() or [type(error).__name__])[0]}
        _arm(0)
        _send(channel, answer)


def _arm(seconds: float) -> None:
    """Have the system end this process after so long, should the parent be gone by then; 0 takes it back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _send(channel: IO[bytes], answer: dict[str, Any]) -> None:
    channel.write(json.dumps(answer).encode() + b"\n")
    channel.flush()


def _limit_memory(size_bytes: int) -> None:
    """Bound the address space; where that is not possible the parent looks after the memory in use."""
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = size_bytes + _address_space()
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit if soft == -1 else min(soft, limit), hard))
    except (ImportError, OSError, ValueError):
        return


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 (pathlib would be one more import)
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _own_session() -> dict[str, Any]:
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


if __name__ == "__main__":
    main()
