"""What was measured is found again by all that decides about it, and never when it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.comparison.kept_figures import KeptFigures
from localllm.comparison.places import comparisons_directory
from localllm.events import Event, Notice, ignore

SETTINGS = {"model": "ab" * 32, "threads": 2, "where": ["cpu", 2]}
FIGURES = {"speed": [1.5, 2.0]}


def results() -> list[Path]:
    return list((comparisons_directory() / "results").glob("*.json"))


def test_what_is_kept_is_found() -> None:
    KeptFigures(emit=ignore).keep("speed", SETTINGS, FIGURES)
    assert KeptFigures(emit=ignore).find("speed", SETTINGS) == FIGURES


@pytest.mark.parametrize(
    ("kind", "change"),
    [("quality", {}), ("speed", {"threads": 3}), ("speed", {"model": "cd" * 32}), ("speed", {"new": 1})],
)
def test_something_else_is_not(kind: str, change: dict[str, object]) -> None:
    KeptFigures(emit=ignore).keep("speed", SETTINGS, FIGURES)
    assert KeptFigures(emit=ignore).find(kind, {**SETTINGS, **change}) is None


def test_another_version_of_llama_cpp_measures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    KeptFigures(emit=ignore).keep("speed", SETTINGS, FIGURES)
    monkeypatch.setattr("localllm.comparison.kept_figures.version", lambda package: "9.9")
    assert KeptFigures(emit=ignore).find("speed", SETTINGS) is None


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"of": {}, "figures": {}}', b'{"figures": 3}']
)
def test_a_damaged_file_counts_as_none(damage: bytes) -> None:
    kept = KeptFigures(emit=ignore)
    kept.keep("speed", SETTINGS, FIGURES)
    (path,) = results()
    path.write_bytes(damage)
    assert kept.find("speed", SETTINGS) is None
    kept.keep("speed", SETTINGS, FIGURES)
    assert kept.find("speed", SETTINGS) == FIGURES


def test_a_number_that_changed_is_noticed() -> None:
    kept = KeptFigures(emit=ignore)
    kept.keep("speed", SETTINGS, FIGURES)
    (path,) = results()
    path.write_text(path.read_text().replace("1.5", "7.5"))
    assert kept.find("speed", SETTINGS) is None


def test_force_believes_only_itself() -> None:
    KeptFigures(emit=ignore).keep("speed", SETTINGS, FIGURES)
    forced = KeptFigures(force=True, emit=ignore)
    assert forced.find("speed", SETTINGS) is None
    forced.keep("speed", SETTINGS, {"speed": [3.0]})
    assert forced.find("speed", SETTINGS) == {"speed": [3.0]}


def test_only_the_owner_can_read_it() -> None:
    KeptFigures(emit=ignore).keep("speed", SETTINGS, FIGURES)
    assert results()[0].stat().st_mode & 0o077 == 0
    assert comparisons_directory().stat().st_mode & 0o077 == 0


def test_a_disk_that_refuses_is_told_once() -> None:
    comparisons_directory().parent.mkdir(parents=True, exist_ok=True)
    comparisons_directory().write_text("in the way")
    events: list[Event] = []
    kept = KeptFigures(emit=events.append)
    kept.keep("speed", SETTINGS, FIGURES)
    kept.keep("speed", SETTINGS, FIGURES)
    assert [type(event) for event in events] == [Notice]
