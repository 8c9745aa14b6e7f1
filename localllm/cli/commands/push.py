"""`localllm push`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from localllm.cli.completion import complete_model
from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localllm.verbs.push import PlannedUpload


def push(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name in the library, optionally with :LEVEL, a .gguf file, or a folder of them.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    repository: Annotated[
        str, typer.Argument(metavar="ORG/REPO", help="The repository of the hub.", show_default=False)
    ],
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels",
            metavar="LEVEL,...",
            help="The levels to send.",
            show_default="all quantized ones here",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="The branch.", show_default="main")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository that only you can see.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List files and sizes; send nothing.")] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Send a model to the Hugging Face hub.

    Its GGUF files, the importance matrix and the model card with the last comparison, in one commit; the
    repository is made where there is none. What is there already is not sent again, and an upload that
    was interrupted goes on.
    """
    out = Output("push", as_json=json, quiet=quiet)
    from localllm.units import format_bytes
    from localllm.verbs import push as verbs

    wanted = [level.strip() for level in (levels or "").split(",") if level.strip()]
    if dry_run:
        plan = verbs.plan_push(
            model, repository, levels=wanted, revision=revision, private=private, emit=out.emit
        )
        out.data({**vars(plan), "send_bytes": plan.send_bytes})
        _show_files(out, plan.files)
        new = " (new, private)" if plan.is_new and plan.private else " (new)" if plan.is_new else ""
        out.status(f"{plan.repo}{new}, {plan.revision}: {format_bytes(plan.send_bytes)} to send")
        return
    result = verbs.push(model, repository, levels=wanted, revision=revision, private=private, emit=out.emit)
    out.data(result)
    how = f"sent {format_bytes(result.sent_bytes)}" if result.commit else "everything was there"
    out.status(f"{result.repo}, {result.revision}: {how}")
    out.text(result.url)


def _show_files(out: Output, files: Sequence[PlannedUpload]) -> None:
    from localllm.units import format_bytes

    rows = [(format_bytes(file.size_bytes), "there" if file.is_there else "", file.name) for file in files]
    out.table(("size", "", "file"), rows, numeric=("size",))
