"""Runs one command line, at the boundary where errors become messages."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

import typer

from localllm.cli.command_line import command_in, command_line
from localllm.cli.output import Output, report_error
from localllm.cli.streams import complete_streams, output_failure
from localllm.errors import LocalLLMError, StorageError, UsageError

INTERRUPTED = 130
_CALM_SECONDS = 1.0


def main() -> None:
    """Run the command line and exit with its status; what is in memory is not taken apart for that."""
    complete_streams()
    stop = _StopOnce()
    try:
        signal.signal(signal.SIGTERM, stop)  # as Ctrl-C, so that part files are removed
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, stop)
        status = run(sys.argv[1:])
        atexit._run_exitfuncs()
    except KeyboardInterrupt:  # before there was anything to clean up, or behind that
        status = INTERRUPTED
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status; every understandable failure is shown here."""
    Output.current = None  # of a command before this one in the same process
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except OSError:
        failure = output_failure()
        if failure is None:
            raise
    if failure.errno != errno.EPIPE:  # whoever reads may stop, as `head` does
        Output.current = None  # JSON would go the same way
        report_error(StorageError(f"cannot write to standard output: {failure.strerror}"))
    return StorageError.exit_code


def _run(arguments: list[str]) -> int:
    try:
        status = command_line(arguments)(args=arguments, prog_name="localllm", standalone_mode=False)
    except LocalLLMError as error:
        if isinstance(error, UsageError) and error.hint is None:
            error.hint = _usage_hint(arguments)
        report_error(error)
        return error.exit_code
    except typer.TyperException as error:
        if Output.current is None:  # the command did not get so far
            Output(command_in(arguments), as_json="--json" in arguments)
        report_error(UsageError(error.format_message().rstrip("."), hint=_usage_hint(arguments)))
        return UsageError.exit_code
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # a name can be too long wherever it is looked at first
            raise
        report_error(StorageError(f"{error.strerror}: {str(error.filename)[:80]}…"))
        return StorageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    finally:  # a progress bar hides the cursor
        if Output.current:
            Output.current.close()
    return status if isinstance(status, int) else 0


def _usage_hint(arguments: list[str]) -> str:
    known = command_in(arguments)
    return f"`localllm {known + ' ' if known else ''}--help` explains the options"


class _StopOnce:
    """A signal handler that stops what is running; more signals must not stop the cleaning up behind it."""

    def __init__(self) -> None:
        self._last = -_CALM_SECONDS

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= _CALM_SECONDS:
            self._last = now
            raise KeyboardInterrupt
