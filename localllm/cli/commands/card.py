"""`localllm card`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.options import JsonOpt, ModelArg, QuietOpt
from localllm.cli.output import Output


def card(
    model: ModelArg,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The file, or the directory for its README.md.",
            show_default="beside the measured files",
        ),
    ] = None,
    quantized_by: Annotated[
        str, typer.Option(metavar="NAME", help="Who made the quantizations.")
    ] = "localllm",
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write the last comparison into the model card.

    README.md gets a section with the measured table and the plots, an image beside it, and in its
    front matter, where that is not stated yet, base model, licence and language of the source.
    Whatever else is in it stays as it is; the same again changes nothing.
    """
    out = Output("card", as_json=json, quiet=quiet)
    from localllm.verbs.card import card as write_card

    result = write_card(model, output=output, quantized_by=quantized_by, emit=out.emit)
    out.data(result)
    out.text(f"{result.change} {result.path}")
