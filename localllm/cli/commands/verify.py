"""`localllm verify`."""

from __future__ import annotations

from localllm.cli.library_options import HereListArg
from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output


def verify(models: HereListArg = None, json: JsonOpt = False, quiet: QuietOpt = False) -> int:
    """Read models again and compare them with their checksums.

    What was pulled with those of the hub, what localllm made with those on its records. Without names
    everything on this machine is checked. Exits with 1 when something is wrong.
    """
    out = Output("verify", as_json=json, quiet=quiet)
    from localllm.cli import library_view as view
    from localllm.verbs.library import verify as verify_models

    return view.show_verification(out, verify_models(models or (), emit=out.emit))
