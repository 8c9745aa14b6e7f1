"""Runs native work in a child process, because llama.cpp can abort and cannot be interrupted.

`run_job("package.module:function", {...})` starts `python -m localllm.native.worker`, which imports
the function and calls it with the arguments and an `emit`. The child's standard output carries JSON
lines: events, then one result or one error. What C++ prints goes to the child's standard error,
which is kept for the message when it dies. A `Worker` is such a child for several jobs, and can be
given one while the parent does something else.

The child is in its own session: Ctrl-C reaches only the parent, which kills the child and goes on
raising. At the end of its standard input, also that of a parent that died, the child exits.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

from localllm import events
from localllm.errors import LocalLLMError, NativeCrashError
from localllm.events import Emit, ignore
from localllm.native.library import users_environment

Job = Callable[[dict[str, Any], Emit], Any]

_KILL_AFTER_SECONDS = 0.5
# where llama.cpp was built, in front of a file of its source and the line
_SOURCE_DIRECTORY = re.compile(r"/\S*/(?=[\w.-]+:\d+: )")


def run_job(entry: str, arguments: dict[str, Any], *, emit: Emit = ignore) -> Any:
    """Run `entry` ("module:function") in a child process and return its JSON-compatible result.

    Events of the child are passed to `emit`. A LocalLLMError raised there is raised here; the death
    of the child by a signal becomes a NativeCrashError with its last words.
    """
    with Worker() as worker:
        worker.begin(entry, arguments)
        return worker.result(emit)


class Worker:
    """A child process that does one job after another. Leaving the context manager ends it."""

    def __init__(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "localllm.native.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=_environment(),
                **_own_session(),
            )
        except BaseException:
            self._stderr.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._close_pipes()
            if kind is None:
                self._process.wait()
        finally:
            _stop(self._process)
            self._stderr.close()

    def begin(self, entry: str, arguments: dict[str, Any]) -> None:
        """Let the child do a job behind those it was given before; `result` waits for it."""
        request = json.dumps({"entry": entry, "arguments": arguments})
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(request.encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:  # the child is gone already; `result` finds out why
            return

    def result(self, emit: Emit = ignore) -> Any:
        """Return the result of the first job whose result was not asked for yet; see `run_job`."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "event" not in message:
                return _unwrap(message)
            emit(events.from_json(message["event"]))
        self._process.wait()
        raise _crash(self._process.returncode, _tail(self._stderr))

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                _close_quietly(pipe)


def main() -> None:
    """Serve jobs until standard input ends: the child's side of `Worker`."""
    send = _Sender(_claim_stdout())
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            module, _, function = request["entry"].partition(":")
            job: Job = getattr(importlib.import_module(module), function)
            send({"result": job(request["arguments"], lambda event: send({"event": events.to_json(event)}))})
        except LocalLLMError as error:
            send({"error": {"code": error.code, "message": error.message, "hint": error.hint}})


class _Sender:
    """Writes JSON lines to the parent, one at a time whichever thread they come from."""

    def __init__(self, channel: IO[str]) -> None:
        self._channel = channel
        self._lock = threading.Lock()

    def __call__(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._channel.write(json.dumps(message) + "\n")
            self._channel.flush()


def _claim_stdout() -> IO[str]:
    """Keep the pipe to the parent for ourselves and send everything else printed to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _read(requests: queue.SimpleQueue[str]) -> None:
    """Take in requests. When no more can come nobody wants a result either, whatever is going on."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(1)


def _environment() -> dict[str, str]:
    """The child must find the same packages as we do, wherever they were imported from."""
    return {**users_environment(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _own_session() -> dict[str, Any]:
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_KILL_AFTER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close_quietly(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:  # the child is gone with our bytes unread
        return


def _tail(stderr: IO[bytes], lines: int = 3) -> str:
    stderr.seek(0)
    text = stderr.read().decode("utf-8", "replace").strip()
    words = " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())
    return _SOURCE_DIRECTORY.sub("", words)


def _crash(returncode: int, last_words: str) -> NativeCrashError:
    if returncode >= 0:
        how = f"ended with exit code {returncode}"
    else:
        how = f"was killed by {_signal_name(-returncode)}"
    hint = None
    if returncode == -signal.SIGILL:
        hint = "this llama-cpp-python was built for another processor; reinstall it from source"
    elif os.name != "nt" and returncode == -signal.SIGKILL:
        hint = "probably out of memory; try a smaller model or level"
    return NativeCrashError(f"llama.cpp {how}{': ' + last_words if last_words else ''}", hint=hint)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _unwrap(outcome: dict[str, Any]) -> Any:
    if "error" in outcome:
        error = outcome["error"]
        raise LocalLLMError.by_code(error["code"])(error["message"], hint=error["hint"])
    return outcome["result"]


if __name__ == "__main__":
    main()
