"""`localllm inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output
from localllm.errors import UsageError


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A .gguf or .safetensors file, a checkpoint, an adapter, an importance matrix, a name in "
            "the library or of the hub (org/repo:LEVEL), a web address, or - for a pipe.",
            show_default=False,
        ),
    ],
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="With `--kv`: only this metadata, whole.", show_default=False),
    ] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    kv: Annotated[bool, typer.Option("--kv", help="List all metadata, or print that of KEY.")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print the chat template, and a conversation with it.")
    ] = False,
    diff: Annotated[
        str | None,
        typer.Option("--diff", metavar="OTHER", help="Tell what is different in OTHER.", show_default=False),
    ] = None,
    named_key: Annotated[str | None, typer.Option("--key", hidden=True)] = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Tell what is inside a model, and whether it runs here.

    Architecture, size, types, tokenizer, chat template, and the memory it takes by context. Only headers are
    read, never weights. Of a checkpoint: what it would become at every level, to the byte.
    """
    out = Output("inspect", as_json=json, quiet=quiet)
    from localllm.cli import inspection_view as view
    from localllm.verbs import inspect as verbs

    if kv and key and Path(key).is_file() and not Path(model).exists():
        model, key = key, model  # `--kv KEY MODEL`
    wanted = key or named_key
    if wanted and not (kv or named_key):
        raise UsageError(f"`{wanted}` is a second argument", hint="for one piece of metadata: `--kv KEY`")
    if sum((tensors, kv or bool(named_key), template, diff is not None)) > 1:
        raise UsageError("`--tensors`, `--kv`, `--template` and `--diff` are looked at one at a time")
    if diff is not None:
        from localllm.cli.difference_view import show_difference

        show_difference(out, verbs.difference(model, diff, emit=out.emit))
        return
    with verbs.opened(model, out.emit) as subject:
        if tensors:
            view.show_tensors(out, subject.tensors())
        elif kv or named_key:
            view.show_metadata(out, subject.metadata(wanted), wanted)
        elif template:
            view.show_template(out, subject.template())
        else:
            view.show_description(out, subject.describe(out.emit))
