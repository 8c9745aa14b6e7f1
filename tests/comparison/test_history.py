"""Comparisons are kept whole, and come back newest first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localllm.comparison import (
    Advice,
    ComparisonResult,
    GreedyAnswer,
    Machine,
    Measurement,
    TaskScore,
    Uncertain,
)
from localllm.comparison.data import from_data, to_data
from localllm.comparison.history import keep_run, new_id, runs
from localllm.comparison.places import comparisons_directory
from localllm.verbs.compare import history, last
from tests.comparison.examples import row
from tests.report.examples import SETTINGS

RESULT = ComparisonResult(
    id="20261125T120000-abc123",
    model="demo",
    started="2026-11-25T12:00:00+00:00",
    reference="BF16",
    measurements=(
        row(
            "Q2_K",
            100,
            kl=(0.2, 0.01),
            top=(0.8, 0.01),
            rate=50.0,
            perplexity=Uncertain(2.0, 0.1),
            answers=(GreedyAnswer("?", "A", 3, 1, 2),),
            tasks=(TaskScore("sums", 1, 2, 0.1, 0.9, (TaskScore("easy", 1, 1, 0.2, 1.0),)),),
        ),
        row("BF16", 800, reference=True, error="died"),
    ),
    settings=SETTINGS,
    machine=Machine("a processor", 2, 10**9, "Linux", ("a GPU",), "0.1", "0.3"),
    notes=("a note",),
    undecided=(("Q4_0", "Q4_K_S"),),
    advice=Advice("Q4_K_M", ("Q2_K",), ("Q2_K", "BF16"), 4096, ("a sentence",)),
)


def test_data_and_back() -> None:
    assert from_data(ComparisonResult, json.loads(json.dumps(to_data(RESULT)))) == RESULT


def test_whole_numbers_are_numbers_too() -> None:
    assert from_data(Uncertain, {"value": 2, "stderr": 0}) == Uncertain(2.0, 0.0)


@pytest.mark.parametrize("data", [None, [], {}, {"level": 3, "path": "x"}, {"level": "Q2_K", "path": None}])
def test_other_data_is_refused(data: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message says what is wrong with the data)
        from_data(Measurement, data)


def test_what_a_later_version_adds_is_left_out() -> None:
    assert from_data(Uncertain, {"value": 1.0, "stderr": 0.5, "kind": "new"}) == Uncertain(1.0, 0.5)


def test_ids_sort_by_time() -> None:
    first, started = new_id()
    assert first[:8] == started[:10].replace("-", "")
    assert first != new_id()[0]


def test_newest_first_and_damaged_ones_left_out() -> None:
    later = replace(RESULT, id="20261126T120000-abc123")
    other = replace(RESULT, id="20261124T120000-abc123", model="other")
    for result in (RESULT, later, other):
        keep_run(result)
    (comparisons_directory() / "runs" / "20261127T000000-ffffff.json").write_text('{"schema": 1}')
    (comparisons_directory() / "runs" / "20261128T000000-ffffff.json").write_text("{")
    assert list(runs()) == [later, RESULT, other]
    assert history("demo") == [later, RESULT]
    assert last("other") == other
    assert last("neither") is None
    path = comparisons_directory() / "runs" / f"{RESULT.id}.json"
    assert path.stat().st_mode & 0o077 == 0


def test_a_model_is_also_found_by_its_path(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "demo-Q2_K.gguf"
    place.parent.mkdir()
    place.touch()
    measured = replace(RESULT.measurements[0], path=str(place))
    keep_run(replace(RESULT, model="my", measurements=(measured,)))
    assert last(place) is not None


def test_a_checkpoint_of_the_same_name_elsewhere_is_another_model(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "tuned").mkdir(parents=True)
        (tmp_path / name / "tuned" / "config.json").write_text("{}")
    keep_run(replace(RESULT, model="tuned", source=str(tmp_path / "a" / "tuned")))
    assert last(tmp_path / "a" / "tuned") is not None
    assert last(tmp_path / "b" / "tuned") is None
