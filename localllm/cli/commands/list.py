"""`localllm list`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output


def list_models(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN",
            help="Only what is called like this: part of a name, or a pattern such as `qwen*:q4*`.",
            show_default=False,
        ),
    ] = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """List the models on this machine.

    Pulled ones in the Hugging Face cache and those of the library, each under the name that commands
    accept.
    """
    out = Output("list", as_json=json, quiet=quiet)
    from localllm.cli import library_view as view
    from localllm.verbs.library import list_models as list_all

    view.show_listing(out, list_all(pattern), pattern)
