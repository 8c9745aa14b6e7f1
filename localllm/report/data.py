"""A comparison as data for programs: JSON under the names the project uses everywhere, and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from localllm.comparison.measurement import ComparisonResult, Measurement, TaskScore

_NOT_IN_CSV = ("answers", "tasks")
_SPREAD = ("stderr", "low", "high")  # columns beside the value: `perplexity`, `perplexity_stderr`
_UNCERTAIN = {
    "prompt_tokens_per_second": _SPREAD,
    "generation_tokens_per_second": _SPREAD,
    "perplexity": _SPREAD[:1],
    "perplexity_ratio": _SPREAD[:1],
    "kl_divergence": _SPREAD[:1],
    "kl_divergence_p99": _SPREAD[:1],
    "same_top_token": _SPREAD[:1],
    "rms_delta_p": _SPREAD[:1],
}


def to_json(result: ComparisonResult) -> dict[str, Any]:
    """Return the comparison as JSON-compatible data; what is no finite number is null."""
    data: dict[str, Any] = _finite(asdict(result))
    for row, measurement in zip(data["measurements"], result.measurements, strict=True):
        for answer in row["answers"]:
            answer["completion_tokens"] = answer.pop("tokens")
        row["tasks"] = [_task(task) for task in measurement.tasks]
    data["failed"] = result.failed
    return data


def to_csv(result: ComparisonResult) -> str:
    """Return the measurements as CSV with a header line, numbers in full.

    A task is `task:NAME` and its bounds. What was not measured is empty. Answers are left out.
    """
    tasks = list(dict.fromkeys(name for row in result.measurements for name, _ in _scores(row)))
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(
        [*_csv_header(), *(f"task:{name}{end}" for name in tasks for end in ("", "_low", "_high"))]
    )
    for row in result.measurements:
        scores = dict(_scores(row))
        writer.writerow(
            [*_csv_values(row), *(value for name in tasks for value in _bounds(scores.get(name)))]
        )
    return output.getvalue()


def _csv_header() -> Iterator[str]:
    for field in fields(Measurement):
        if field.name not in _NOT_IN_CSV:
            yield field.name
            yield from (f"{field.name}_{end}" for end in _UNCERTAIN.get(field.name, ()))


def _csv_values(row: Measurement) -> Iterator[Any]:
    for field in fields(Measurement):
        if field.name in _NOT_IN_CSV:
            continue
        value = getattr(row, field.name)
        ends = _UNCERTAIN.get(field.name)
        if ends is None:
            yield str(value).lower() if isinstance(value, bool) else value
        else:
            yield from (None if value is None else getattr(value, part) for part in ("value", *ends))


def _scores(row: Measurement) -> Iterator[tuple[str, TaskScore]]:
    """Yield the tasks of a file and the kinds of each, with a name for the column."""
    for task in row.tasks:
        yield task.task, task
        yield from ((f"{task.task}/{kind.task}", kind) for kind in task.kinds)


def _bounds(score: TaskScore | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if score is None else (score.share, score.low, score.high)


def _task(task: TaskScore) -> dict[str, Any]:
    return {
        "task": task.task,
        "right": task.right,
        "total": task.total,
        "share": task.share,
        "low": task.low,
        "high": task.high,
        "kinds": [_task(kind) for kind in task.kinds],
    }


def _finite(data: Any) -> Any:
    """Return JSON-compatible data without infinities and NaN, which JSON has no words for."""
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
