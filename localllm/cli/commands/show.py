"""`localllm show`."""

from __future__ import annotations

from localllm.cli.library_options import HereArg
from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output


def show(model: HereArg, json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Show where a model is, where it comes from and what is in it.

    Of what was pulled the repository, commit and checksums; of what localllm made from what, how and when.
    """
    out = Output("show", as_json=json, quiet=quiet)
    from localllm.cli import library_view as view
    from localllm.verbs.library import show as show_model

    card = show_model(model, emit=out.emit)
    view.show_model(out, card)
