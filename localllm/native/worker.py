"""Runs native work in a child process, because llama.cpp can abort and cannot be interrupted.

`run_job("package.module:function", {...})` starts `python -m localllm.native.worker`, which imports
the function and calls it with the arguments and an `emit`. The child's standard output carries JSON
lines: events, then one result or one error. What C++ prints goes to the child's standard error,
which is kept for the message when it dies.

The child is in its own session: Ctrl-C reaches only the parent, which kills the child and goes on
raising. If the parent dies, the child notices the end of its standard input and exits.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from localllm import events
from localllm.errors import LocalLLMError, NativeCrashError
from localllm.events import Emit, ignore

Job = Callable[[dict[str, Any], Emit], Any]

_KILL_AFTER_SECONDS = 0.5


def run_job(entry: str, arguments: dict[str, Any], *, emit: Emit = ignore) -> Any:
    """Run `entry` ("module:function") in a child process and return its JSON-compatible result.

    Events of the child are passed to `emit`. A LocalLLMError raised there is raised here; the death
    of the child by a signal becomes a NativeCrashError with its last words.
    """
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "localllm.native.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment(),
            **_own_session(),
        )
        try:
            outcome = _converse(process, {"entry": entry, "arguments": arguments}, emit)
            process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    _close_quietly(pipe)
        if outcome is None:
            raise _crash(process.returncode, _tail(stderr))
    return _unwrap(outcome)


def main() -> None:
    """Serve one job: the child's side of `run_job`."""
    channel = _claim_stdout()
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    send = _Sender(channel)
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


def _exit_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _environment() -> dict[str, str]:
    """The child must find the same packages as we do, wherever they were imported from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _own_session() -> dict[str, Any]:
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


def _converse(process: subprocess.Popen[bytes], request: dict[str, Any], emit: Emit) -> dict[str, Any] | None:
    """Send the request, pass events on, and return the result or error message, if one came."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # the child is gone already; why is found out below
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if "event" not in message:
            return message
        emit(events.from_json(message["event"]))
    return None


def _stop(process: subprocess.Popen[bytes]) -> None:
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
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


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
