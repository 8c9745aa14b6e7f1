"""Lists the comparisons of the past, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localllm.cli.output import Output

if TYPE_CHECKING:
    from localllm.comparison.measurement import ComparisonResult


def show_history(out: Output, runs: Sequence[ComparisonResult], model: str | None) -> None:
    """Print one line for each run."""
    from localllm.report.data import to_json

    if out.as_json:
        out.data({"runs": [to_json(run) for run in runs]})
        return
    if not runs:
        what = f"of `{model}` " if model else ""
        out.status(f"no comparison {what}is kept; `localllm compare {model or 'demo'}` makes one")
        return
    headings = ("when (UTC)", "run", "model", "files", "reference", "smallest within the loss")
    out.table(headings, [_row(run) for run in runs], numeric=("files",))


def _row(run: ComparisonResult) -> tuple[str, ...]:
    from localllm.report.words import clock

    failed = sum(row.error is not None for row in run.measurements)
    files = f"{len(run.measurements)}, {failed} failed" if failed else str(len(run.measurements))
    return (clock(run.started), run.id, run.model, files, run.reference or "-", run.advice.smallest or "-")
