"""Speeds are means with their standard errors, from a model that was really run."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.benchmark import measure_speeds, summarise_speed
from localllm.native.model import Model


def test_the_mean_and_its_standard_error() -> None:
    speed = summarise_speed([1.0, 2.0, 3.0, 4.0])
    assert speed.value == 2.5
    assert speed.stderr == pytest.approx(1.2909944 / 2)


def test_one_sample_has_no_error() -> None:
    assert summarise_speed([5.0]).stderr == 0.0


def test_both_speeds_are_measured(narrow_gguf: Path) -> None:
    with Model(narrow_gguf) as model:
        speeds = measure_speeds(model, threads=1, repetitions=2)
    assert speeds.prompt.value > 0
    assert speeds.generation.value > 0
