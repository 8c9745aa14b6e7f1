"""Turns a comparison into rows of text, CSV and JSON. Formatting only; no measuring."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from localllm.comparison import ComparisonResult, Measurement, Uncertain
from localllm.units import format_bytes, format_seconds

HEADINGS = (
    "level",
    "size",
    "bits per weight",
    "load",
    "prompt tok/s",
    "generate tok/s",
    "memory",
    "perplexity",
)
_CSV_COLUMNS = (
    "level",
    "path",
    "size_bytes",
    "bits_per_weight",
    "parameters",
    "load_seconds",
    "prompt_tokens_per_second",
    "generation_tokens_per_second",
    "peak_memory_bytes",
    "perplexity",
    "perplexity_stderr",
    "error",
)


def table_rows(result: ComparisonResult) -> list[tuple[str, ...]]:
    """Return one row of texts per measurement, under HEADINGS; a missing figure is a dash."""
    return [_row(measurement) for measurement in result.measurements]


def to_json(result: ComparisonResult) -> dict[str, Any]:
    """Return the comparison as JSON-compatible data."""
    return {
        "threads": result.threads,
        "repetitions": result.repetitions,
        "evaluated_tokens": result.evaluated_tokens,
        "measurements": [asdict(measurement) for measurement in result.measurements],
    }


def to_csv(result: ComparisonResult) -> str:
    """Return the comparison as CSV with a header line; quantities without their errors, except perplexity."""
    output = io.StringIO()
    writer = csv.DictWriter(output, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for measurement in result.measurements:
        values = asdict(measurement)
        perplexity = measurement.perplexity
        flat = {name: v["value"] if isinstance(v, dict) else v for name, v in values.items()}
        writer.writerow({**flat, "perplexity_stderr": perplexity.stderr if perplexity else None})
    return output.getvalue()


def _row(measurement: Measurement) -> tuple[str, ...]:
    load, memory = measurement.load_seconds, measurement.peak_memory_bytes
    return (
        measurement.level,
        format_bytes(measurement.size_bytes),
        f"{measurement.bits_per_weight:.2f}",
        "-" if load is None else format_seconds(load),
        _speed(measurement.prompt_tokens_per_second),
        _speed(measurement.generation_tokens_per_second),
        "-" if memory is None else format_bytes(memory),
        _with_error(measurement.perplexity),
    )


def _speed(speed: Uncertain | None) -> str:
    if speed is None:
        return "-"
    digits = 1 if speed.value < 100 else 0
    share = speed.stderr / speed.value if speed.value else 0.0
    return f"{speed.value:.{digits}f} ±{share:.0%}"


def _with_error(quantity: Uncertain | None) -> str:
    return "-" if quantity is None else f"{quantity.value:.3f} ±{quantity.stderr:.3f}"
