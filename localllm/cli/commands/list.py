"""`localllm list`."""

from __future__ import annotations

from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output


def list_models(json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """List the models in the library."""
    out = Output("list", as_json=json, quiet=quiet)
    from localllm.store import models_directory, stored_models
    from localllm.units import format_bytes

    models = stored_models()
    out.data(models)
    if not models:
        out.status(f"the library in {models_directory()} is empty; `localllm demo` shows how to fill it")
        return
    rows = [(f"{m.name}:{m.level}", format_bytes(m.size_bytes), str(m.path)) for m in models]
    out.table(("model", "size", "file"), rows, numeric=("size",))
