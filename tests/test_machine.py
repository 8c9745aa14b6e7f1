"""Cores and memory are those the operating system grants, containers included."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from localllm import machine


@pytest.mark.parametrize(
    ("quota", "most"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("junk", None)]
)
def test_a_container_limits_the_cores(
    quota: str, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(machine, "_CGROUP_V2", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.usable_cores() == (8 if most is None else most)


def test_without_a_container_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CGROUP_V2", "_CGROUP_V1", "_CGROUP_V1_PERIOD"):
        monkeypatch.setattr(machine, name, tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert machine.usable_cores() == 3


def test_memory_is_in_bytes() -> None:
    assert machine.peak_memory_bytes() >= psutil.Process().memory_info().rss
    assert 64 * 1024**2 < machine.available_memory_bytes() <= psutil.virtual_memory().total
