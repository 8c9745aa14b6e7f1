"""The application: its commands, `--version`, and the boundary where errors become messages."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from localllm.cli.commands.chat import chat
from localllm.cli.commands.compare import compare
from localllm.cli.commands.convert import convert
from localllm.cli.commands.demo import demo
from localllm.cli.commands.imatrix import imatrix
from localllm.cli.commands.inspect import inspect
from localllm.cli.commands.list import list_models
from localllm.cli.commands.merge import merge
from localllm.cli.commands.quantize import quantize
from localllm.cli.commands.version import print_version
from localllm.cli.output import report_error
from localllm.errors import LocalLLMError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="localllm",
    help="From a fine-tuned checkpoint to a measured GGUF and a chat, on your own machine.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (convert, merge, quantize, imatrix, inspect, chat, compare, demo):
    app.command()(command)
app.command(name="list")(list_models)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show versions, CPU features and devices, then exit.")
    ] = False,
) -> None:
    if version:
        print_version()
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line and exit with its status."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status; every understandable failure is shown here."""
    try:
        status = app(args=arguments, prog_name="localllm", standalone_mode=False)
    except LocalLLMError as error:
        if isinstance(error, UsageError) and error.hint is None:
            error.hint = _usage_hint(arguments)
        report_error(error)
        return error.exit_code
    except typer.TyperException as error:
        report_error(UsageError(error.format_message().rstrip("."), hint=_usage_hint(arguments)))
        return UsageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _usage_hint(arguments: list[str]) -> str:
    names = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    known = next((argument for argument in arguments if argument in names), "")
    return f"`localllm {known + ' ' if known else ''}--help` explains the options"


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, so that part files are removed."""
    raise KeyboardInterrupt
