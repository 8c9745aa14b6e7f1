"""Tables: which columns there are, what cells say, and how they fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localllm.comparison.measurement import Uncertain
from localllm.report.columns import (
    TextTable,
    filled_columns,
    folded,
    row_labels,
    table_width,
    tables_within,
    text_table,
)
from localllm.report.figures import percent, significant, with_error
from localllm.report.tasks import task_table
from tests.report.examples import FAILED, TWELVE, WITHOUT_QUALITY


def test_a_row_says_every_figure_with_its_error() -> None:
    (table,) = tables_within(TWELVE.measurements, None)
    row = dict(zip(table.headings, table.rows[6], strict=True))
    assert row == {
        "level": "Q4_K_M",
        "size": "2.29 MiB",
        "bits per weight": "5.23",
        "of the original": "32.7 %",
        "load": "16 ms",
        "cold load": "36 ms",
        "peak memory": "62.3 MiB",
        "memory estimate": "57.3 MiB",
        "prompt tok/s": "5322 ±32",
        "generate tok/s": "391 ±4",
        "perplexity": "2.12 ±0.04",
        "perplexity ratio": "1.0029 ±0.0009",
        "KL divergence": "0.0031 ±0.0002",
        "KL p99": "0.054 ±0.011",
        "same top token": "98.2 ±0.3 %",
        "RMS Δp": "1.66 ±0.10 %",
    }
    assert table.rows[-1][0] == "BF16 ref"
    assert table.rows[-1][-4:] == ("-",) * 4


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40])
def test_tables_fit_and_leave_nothing_out(width: int) -> None:
    tables = tables_within(TWELVE.measurements, width)
    assert all(table_width(table) <= width for table in tables)
    shown = [heading for table in tables for heading in table.headings[1:]]
    assert shown == [column.heading for column in filled_columns(TWELVE.measurements)]
    assert all(table.headings[0] == "level" and len(table.rows) == 13 for table in tables)


def test_how_many_tables_there_are() -> None:
    assert [len(tables_within(TWELVE.measurements, width)) for width in (200, 80)] == [1, 3]
    by_kind = [table.headings[1] for table in tables_within(TWELVE.measurements, 80)]
    assert by_kind == ["size", "prompt tok/s", "KL divergence"]


def test_a_column_wider_than_the_terminal_is_not_lost() -> None:
    table = TextTable(("level", "a", "b"), (("Q8_0", "x" * 50, "1"),))
    assert [part.headings for part in folded(table, 20)] == [("level", "a"), ("level", "b")]


def test_what_nobody_measured_has_no_column() -> None:
    names = {column.name for column in filled_columns(WITHOUT_QUALITY.measurements)}
    assert "generation_tokens_per_second" in names
    assert not names & {"perplexity", "kl_divergence", "same_top_token"}


def test_a_failed_file_keeps_its_row() -> None:
    table = text_table(FAILED.measurements, filled_columns(FAILED.measurements))
    assert table.rows[1][:4] == ("Q5_K_M", "2.63 MiB", "6.01", "-")


def test_two_files_of_one_level_are_told_apart() -> None:
    twice = [replace(TWELVE.measurements[0], path=f"dir/{name}.gguf") for name in ("mine", "theirs")]
    assert row_labels([*twice, TWELVE.measurements[1]]) == ["Q2_K mine", "Q2_K theirs", "Q3_K_S"]


def test_tasks_and_their_kinds() -> None:
    table = task_table(TWELVE)
    assert table is not None
    assert table.headings == ("level", "heldout, of 412", "heldout: facts, of 326", "heldout: memory, of 86")
    assert table.rows[0] == (
        "Q2_K",
        "90.0 % (93.0–97.5)",
        "96.0 % (93.0–97.5)",
        "95.3 % (89.0–98.0)",
    )
    assert task_table(WITHOUT_QUALITY) is None


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.012342, 0.00012, "0.01234 ±0.00012"),
        (6.25125, 0.0402, "6.25 ±0.04"),
        (1234.5, 12.3, "1234 ±12"),
        (1234.5, 1.96, "1234 ±2"),
        (5.0, 0.0, "5.000"),
        (0.0, 0.0, "0"),
        (float("inf"), 1.0, "inf"),
        (1.5, float("nan"), "1.500"),
        (-0.002, 0.001, "-0.0020 ±0.0010"),
    ],
)
def test_an_error_decides_how_many_digits_there_are(value: float, error: float, text: str) -> None:
    assert with_error(Uncertain(value, error)) == text


def test_shares_and_small_numbers() -> None:
    assert [percent(share) for share in (1.0, 0.9996, 0.2345, 0.0)] == ["100 %", "100 %", "23.4 %", "0.0 %"]
    assert [significant(value) for value in (123456.0, 0.00012345)] == ["123456", "0.0001234"]
