"""A comparison as data: CSV and JSON say every figure in full, and can be read back."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

from localllm.comparison.measurement import Uncertain
from localllm.report.data import to_csv, to_json
from tests.report.examples import FAILED, HOSTILE, HOSTILE_RESULT, TWELVE


def test_csv_has_every_figure_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(TWELVE))))
    assert [row["level"] for row in rows] == [row.level for row in TWELVE.measurements]
    for row, measurement in zip(rows, TWELVE.measurements, strict=True):
        speed, kl = measurement.generation_tokens_per_second, measurement.kl_divergence
        assert speed is not None
        assert float(row["generation_tokens_per_second"]) == speed.value
        assert float(row["generation_tokens_per_second_low"]) == speed.low
        assert row["kl_divergence"] == ("" if kl is None else repr(kl.value))
        assert row["kl_divergence_stderr"] == ("" if kl is None else repr(kl.stderr))
        assert row["path"] == measurement.path
        assert float(row["task:heldout"]) == measurement.tasks[0].share
        assert float(row["task:heldout/facts_high"]) == 0.975
    assert rows[-1]["is_reference"] == "true"


def test_csv_of_what_failed_and_of_what_is_hostile() -> None:
    _, failed, _ = csv.DictReader(io.StringIO(to_csv(FAILED)))
    assert (failed["perplexity"], failed["error"]) == ("", "llama.cpp was killed by signal 9")
    first, *_ = csv.DictReader(io.StringIO(to_csv(HOSTILE_RESULT)))
    assert (first["level"], first[f"task:{HOSTILE}"]) == (HOSTILE, "0.5")


def test_json_uses_the_names_of_the_project() -> None:
    data = json.loads(json.dumps(to_json(TWELVE)))
    row = data["measurements"][0]
    assert row["kl_divergence"] == {"value": 0.02113, "stderr": 0.02113 * 0.08}
    assert row["same_top_token"]["value"] == 0.9512
    assert row["generation_tokens_per_second"]["samples"] == list(
        TWELVE.measurements[0].generation_tokens_per_second.samples  # type: ignore[union-attr]
    )
    assert row["answers"][0] == {
        "prompt": "What is inside a GGUF file?",
        "text": "A GGUF file holds the weights of a model, and little else.",
        "completion_tokens": 14,
        "departs_at": 7,
        "departs_at_character": 29,
    }
    assert row["tasks"][0]["share"] == 371 / 412
    assert [kind["task"] for kind in row["tasks"][0]["kinds"]] == ["facts", "memory"]
    assert data["settings"]["evaluated_tokens"] == 3060
    assert data["machine"]["cores"] == 2
    assert data["undecided"] == [["Q5_K_S", "Q5_K_M"], ["Q4_K_S", "Q4_K_M"]]
    assert (data["failed"], to_json(FAILED)["failed"]) == (False, True)


def test_what_is_no_number_is_null() -> None:
    row = replace(TWELVE.measurements[0], perplexity=Uncertain(math.inf, math.nan))
    data = to_json(replace(TWELVE, measurements=(row,)))
    assert data["measurements"][0]["perplexity"] == {"value": None, "stderr": None}
    json.dumps(data, allow_nan=False)
