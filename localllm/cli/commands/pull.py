"""`localllm pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from localllm.cli.completion import complete_model
from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output

if TYPE_CHECKING:
    from localllm.verbs.pull import PullPlan, PullResult


def pull(
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="REF...",
            help="org/repo:LEVEL, org/repo, org/repo/FILE.gguf, each also with @REVISION, or an address.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List files and sizes; download nothing.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the hub also when everything is here.")
    ] = False,
    projector: Annotated[
        bool, typer.Option("--projector", help="Download the vision projector (mmproj) too.")
    ] = False,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Take the safetensors weights, even beside GGUF files.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Download a checkpoint that cannot be converted all the same.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Download models from the Hugging Face hub.

    Of a repository of GGUF files one quantization with all its parts, of one of safetensors what a
    conversion needs. Downloads are resumed and verified, and lie in the Hugging Face cache, where other
    programs find them. What is here already is not asked for again.
    """
    out = Output("pull", as_json=json, quiet=quiet)
    from localllm.verbs import pull as verbs

    if dry_run:
        plans = [
            verbs.plan_pull(each, projector=projector, checkpoint=checkpoint, emit=out.emit)
            for each in references
        ]
        out.data(plans)
        for plan in plans:
            _show_plan(out, plan)
        return
    results = []
    for each in references:
        result = verbs.pull(
            each,
            projector=projector,
            checkpoint=checkpoint,
            refresh=refresh,
            check=not no_check,
            emit=out.emit,
        )
        results.append(result)
        _show_result(out, result)
    out.data(results)


def _show_plan(out: Output, plan: PullPlan) -> None:
    from localllm.units import format_bytes

    rows = [(format_bytes(file.size_bytes), "here" if file.is_here else "", file.path) for file in plan.files]
    out.table(("size", "", "file"), rows, numeric=("size",))
    out.status(
        f"{plan.reference}: {format_bytes(plan.download_bytes)} to download, "
        f"{format_bytes(plan.size_bytes)} in all"
    )
    if plan.others:
        out.status(f"it also has {', '.join(plan.others)}")


def _show_result(out: Output, result: PullResult) -> None:
    from localllm.units import format_bytes

    came = result.downloaded_bytes
    how = f"downloaded {format_bytes(came)}" if came else "everything was here"
    out.status(f"{result.reference}: {how}, {format_bytes(result.size_bytes)} in all")
    out.text(str(result.path))
