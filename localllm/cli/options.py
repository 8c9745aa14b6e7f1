"""The arguments and options that several commands share, each named and explained once."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.completion import complete_model
from localllm.merge_target import MergeTarget
from localllm.units import parse_bytes

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
        help="A .gguf file, a checkpoint, a name in the library or org/repo, optionally with :LEVEL.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
AdapterOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="ADAPTER",
        help="A LoRA adapter's directory, to merge in first; repeatable.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
BaseOpt = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="DIRECTORY",
        help="The base model of an adapter, or where to take missing tokenizer files from.",
        show_default="the one the adapter or model card names",
        autocompletion=complete_model,
    ),
]
MergeIntoOpt = Annotated[
    MergeTarget,
    typer.Option(
        help="What adapters are merged into: the base as it is, the 16-bit original of a quantized base, or "
        "the weights QLoRA training saw."
    ),
]
ScaleOpt = Annotated[float, typer.Option("--scale", help="Strength of adapters, times their own.")]
PreOpt = Annotated[
    str | None,
    typer.Option("--pre", help="llama.cpp's name of the pre-tokenizer.", show_default="recognised"),
]
KeepMtpOpt = Annotated[
    bool, typer.Option("--keep-mtp", help="Keep layers for multi-token prediction, for speculative decoding.")
]
OutputOpt = Annotated[
    str | None,  # a Path would lose the separator at the end that marks a directory
    typer.Option(
        "--output", "-o", metavar="PATH", help="Where to write instead of the library.", show_default=False
    ),
]
ContextOpt = Annotated[
    int | None,
    typer.Option(
        "--context", min=16, max=2**31 - 1, help="Context size in tokens.", show_default="up to 8192"
    ),
]


def size_in_bytes(text: str) -> int:
    """Return what an option's size means; for Typer's `parser`."""
    try:
        return parse_bytes(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number followed by K, M or G, such as 4G") from None


PlanContextOpt = Annotated[
    int | None,
    typer.Option(
        "--context",
        min=16,
        max=2**31 - 1,
        help="Context in tokens to estimate memory for.",
        show_default="up to 4096",
    ),
]
MaxMemoryOpt = Annotated[
    int | None,
    typer.Option(
        "--max-memory",
        parser=size_in_bytes,
        metavar="N[K|M|G]",
        help="Memory to work in, about.",
        show_default="a few hundred MB",
    ),
]
SplitOpt = Annotated[
    int | None,
    typer.Option(
        "--split-max-size",
        parser=size_in_bytes,
        metavar="N[K|M|G]",
        help="Split into files with at most this many bytes of weights each (K, M, G: powers of 1000).",
        show_default="one file",
    ),
]
