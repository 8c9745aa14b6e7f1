"""The command line as Typer reads it: the commands, `--version`, and what all have in common.

Typer looks at every option of every command before it runs one, which takes longer than many commands do. A
command line that begins with the name of a command therefore gets that one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

# where each command is, in the order of the help
_COMMANDS = {
    "pull": "pull:pull",
    "convert": "convert:convert",
    "merge": "merge:merge",
    "quantize": "quantize:quantize",
    "imatrix": "imatrix:imatrix",
    "inspect": "inspect:inspect",
    "chat": "chat:chat",
    "serve": "serve:serve",
    "compare": "compare:compare",
    "card": "card:card",
    "export": "export:export_app",
    "push": "push:push",
    "show": "show:show",
    "rm": "rm:rm",
    "verify": "verify:verify",
    "demo": "demo:demo",
    "list": "list:list_models",
    "sessions": "sessions:sessions_app",
}


def command_line(arguments: Sequence[str]) -> typer.Typer:
    """Return what can read `arguments`."""
    app = typer.Typer(
        name="localllm",
        help="From a fine-tuned checkpoint to a measured GGUF and a chat, on your own machine.",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for name in arguments[:1] if arguments[:1] and arguments[0] in _COMMANDS else _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(import_module(f"localllm.cli.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name=name)(found)
    return app


def command_in(arguments: Sequence[str]) -> str:
    """Return the command that is meant, "" for none."""
    return next((argument for argument in arguments if argument in _COMMANDS), "")


def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show versions, CPU features and devices, then exit.")
    ] = False,
) -> None:
    if version:
        from localllm.cli.commands.version import print_version

        print_version()
    elif context.invoked_subcommand is None:
        print(context.get_help())
