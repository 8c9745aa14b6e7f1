"""`localllm rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli.library_options import HereListArg
from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output
from localllm.errors import UsageError

_DECLINED = 1


def rm(
    models: HereListArg = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; remove nothing.")] = False,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Also checkpoints and adapters in the library.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Remove what was left behind by processes that were killed.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="With --stale: also unfinished downloads of the last week.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> int:
    """Remove models from the library and the Hugging Face cache.

    MODEL:LEVEL goes alone, a name without level with all of its levels. What other models need stays, and
    so do checkpoints that you put into the library, unless `--checkpoint` is given.
    """
    out = Output("rm", as_json=json, quiet=quiet)
    if everything and not stale:
        raise UsageError("`--all` is for `--stale`", hint="to remove a model, name it")
    if stale and (models or checkpoint):
        raise UsageError("`--stale` takes no models", hint="remove them in a run of their own")
    if stale:
        return _clean(out, yes=yes, dry_run=dry_run, everything=everything)
    if not models:
        raise UsageError("name a model to remove", hint="`localllm list` shows what there is")
    return _remove(out, models, yes=yes, dry_run=dry_run, checkpoint=checkpoint)


def _remove(out: Output, models: list[str], *, yes: bool, dry_run: bool, checkpoint: bool) -> int:
    from localllm.cli import library_view as view
    from localllm.verbs import library as verbs

    plan = verbs.plan_removal(models, checkpoint=checkpoint)
    if dry_run:
        view.show_plan(out, plan)
        return 0
    if not yes and not view.confirm(plan):
        out.status("nothing was removed")
        return _DECLINED
    result = verbs.remove(plan, emit=out.emit)
    view.show_removed(out, plan, result.freed_bytes)
    return 0


def _clean(out: Output, *, yes: bool, dry_run: bool, everything: bool) -> int:
    """Only what somebody could still want is asked for: unfinished downloads."""
    from localllm.cli import library_view as view
    from localllm.verbs import library as verbs

    found = verbs.find_leftovers(include_resumable=everything)
    if dry_run:
        view.show_leftovers(out, found)
        return 0
    if everything and not yes and not view.confirm_leftovers(found):
        out.status("nothing was removed")
        return _DECLINED
    view.show_cleaned(out, found, verbs.clean(found, emit=out.emit))
    return 0
