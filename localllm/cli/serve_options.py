"""The options of `localllm serve` that no other command has, each named and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.completion import complete_model
from localllm.cli.options import size_in_bytes
from localllm.units import parse_seconds

_FOREVER = ("forever", "-1")


def _duration(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number followed by s, m, h or d, such as 5m") from None


def _keep_alive(text: str) -> float:
    return float("inf") if text.lower() in _FOREVER else _duration(text)


ServedArg = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="A .gguf file, a checkpoint, a name in the library or org/repo, optionally with :LEVEL.",
        show_default=False,
        autocompletion=complete_model,
    ),
]

# where and to whom ----------------------------------------------------------------------------

HostOpt = Annotated[
    str,
    typer.Option(
        "--host", help="Address to listen on; one that others can reach needs a key.", metavar="HOST"
    ),
]
PortOpt = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any that is free.")]
ApiKeyOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        help="What requests must carry; repeatable. Other users of this machine can see options.",
        show_default=False,
    ),
]
ApiKeyFileOpt = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", metavar="FILE", help="Keys, one a line.", show_default="$LOCALLLM_API_KEY, a key"
    ),
]
AllowHostOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="Another name that requests may call the server by; repeatable.",
        show_default=False,
    ),
]
AllowOriginOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="A web page that may ask from a browser, like http://localhost:3000; `*` for all; repeatable.",
        show_default=False,
    ),
]

# how much -------------------------------------------------------------------------------------

ParallelOpt = Annotated[
    int, typer.Option("--parallel", min=1, max=256, help="Answers of a model to generate at once.")
]
QueueOpt = Annotated[
    int, typer.Option("--queue", min=0, max=100_000, help="Requests to a model that may wait.")
]
ServeContextOpt = Annotated[
    str,
    typer.Option("--context", metavar="N|auto", help="Tokens of one request, prompt and answer together."),
]
KeepAliveOpt = Annotated[
    float | None,
    typer.Option(
        "--keep-alive",
        parser=_keep_alive,
        metavar="N[s|m|h|d]",
        help="How long a model that nobody asks stays in memory, or `forever`.",
        show_default="forever; 5m with several models",
    ),
]
GraceOpt = Annotated[
    float | None,
    typer.Option(
        "--grace",
        parser=_duration,
        metavar="N[s|m|h|d]",
        help="How long answers may take to end when the server is stopped.",
        show_default="10s",
    ),
]
MaxBodyOpt = Annotated[
    int | None,
    typer.Option(
        "--max-body",
        parser=size_in_bytes,
        metavar="N[K|M|G]",
        help="Largest request in bytes.",
        show_default="4M",
    ),
]
