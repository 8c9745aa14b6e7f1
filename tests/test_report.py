"""A comparison as text, CSV and JSON: every figure, in its unit; a missing one is a dash."""

from __future__ import annotations

import csv
import io
import json

from localllm.comparison import ComparisonResult, Measurement, Uncertain
from localllm.report import HEADINGS, table_rows, to_csv, to_json

MEASURED = Measurement(
    level="Q4_K_M",
    path="dir/a, b-Q4_K_M.gguf",
    size_bytes=3 * 1024**2,
    bits_per_weight=4.8251,
    parameters=5_000_000,
    load_seconds=0.0123,
    prompt_tokens_per_second=Uncertain(1234.5, 12.3),
    generation_tokens_per_second=Uncertain(9.87, 0.1),
    peak_memory_bytes=50 * 1024**2,
    perplexity=Uncertain(6.25125, 0.04),
)
FAILED = Measurement("Q8_0", "b.gguf", 1024, 8.5, 963, error="killed by signal 9")
RESULT = ComparisonResult((MEASURED, FAILED), threads=2, repetitions=3, evaluated_tokens=255)


def test_rows() -> None:
    first, second = (dict(zip(HEADINGS, row, strict=True)) for row in table_rows(RESULT))
    assert first == {
        "level": "Q4_K_M",
        "size": "3.00 MiB",
        "bits per weight": "4.83",
        "load": "12 ms",
        "prompt tok/s": "1234 \u00b11%",
        "generate tok/s": "9.9 \u00b11%",
        "memory": "50.0 MiB",
        "perplexity": "6.251 \u00b10.040",
    }
    assert [second[name] for name in HEADINGS[3:]] == ["-"] * 5


def test_csv() -> None:
    first, second = csv.DictReader(io.StringIO(to_csv(RESULT)))
    assert first["path"] == MEASURED.path
    assert float(first["perplexity"]) == 6.25125
    assert float(first["perplexity_stderr"]) == 0.04
    assert (second["perplexity"], second["error"]) == ("", "killed by signal 9")


def test_json() -> None:
    data = json.loads(json.dumps(to_json(RESULT)))
    assert (data["threads"], data["repetitions"], data["evaluated_tokens"]) == (2, 3, 255)
    assert data["measurements"][0]["prompt_tokens_per_second"] == {"value": 1234.5, "stderr": 12.3}
    assert data["measurements"][1]["load_seconds"] is None
    assert RESULT.failed
