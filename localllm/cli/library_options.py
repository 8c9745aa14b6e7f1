"""The arguments of commands that look at what is on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.completion import complete_model

HereArg = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name in the library or a pulled org/repo, optionally with :LEVEL.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
HereListArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL...",
        help="Names in the library or pulled org/repo, optionally with :LEVEL.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
