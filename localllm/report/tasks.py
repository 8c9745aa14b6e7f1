"""The share of questions answered right, by task and by kind of question."""

from __future__ import annotations

from localllm.comparison.measurement import ComparisonResult, Measurement, TaskScore
from localllm.report.columns import LEVEL, MISSING, TextTable, one_line, row_labels
from localllm.report.words import task_cell


def scores(row: Measurement) -> dict[str, TaskScore]:
    """Return a file's scores by what to call them: the task, and `task: kind` where it has several kinds."""
    found: dict[str, TaskScore] = {}
    for task in row.tasks:
        name = one_line(task.task)
        found[name] = task
        if len(task.kinds) > 1:
            found.update({f"{name}: {one_line(kind.task)}": kind for kind in task.kinds})
    return found


def task_table(result: ComparisonResult) -> TextTable | None:
    """Return a row for each file that answered questions; None where none did."""
    rows = [
        (label, scores(row))
        for label, row in zip(row_labels(result.measurements), result.measurements, strict=True)
        if row.tasks
    ]
    totals: dict[str, int] = {}
    for _, found in rows:
        for name, score in found.items():
            totals[name] = max(totals.get(name, 0), score.total)
    if not totals:
        return None
    cells = [
        (label, *(task_cell(found[name]) if name in found else MISSING for name in totals))
        for label, found in rows
    ]
    headings = (f"{name}, of {total}" for name, total in totals.items())
    return TextTable((LEVEL, *headings), tuple(cells))
