"""The arguments and options that several commands share, each named and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
QuietOpt = Annotated[bool, typer.Option("--quiet", help="Print results and errors only.")]
ThreadsOpt = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=4096, help="Threads to use.", show_default="all usable cores"),
]
ModelArg = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A .gguf file, a checkpoint directory or a name in the library, optionally with :LEVEL.",
        show_default=False,
    ),
]
AdapterOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="ADAPTER",
        help="A LoRA adapter's directory, to merge in first; repeatable.",
        show_default=False,
    ),
]
BaseOpt = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="DIRECTORY",
        help="The base model of an adapter.",
        show_default="the one the adapter names",
    ),
]
ScaleOpt = Annotated[float, typer.Option("--scale", help="Strength of adapters, times their own.")]
OutputOpt = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where to write instead of the library.", show_default=False),
]
ContextOpt = Annotated[
    int | None,
    typer.Option(
        "--context", min=16, max=2**31 - 1, help="Context size in tokens.", show_default="up to 8192"
    ),
]
