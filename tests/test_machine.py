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
    resident = psutil.Process().memory_info().rss
    assert machine.peak_memory_bytes() >= resident - 1024**2  # the kernel counts pages in batches
    assert 64 * 1024**2 < machine.available_memory_bytes() <= psutil.virtual_memory().total


@pytest.mark.parametrize("names", [("memory.max", "memory.current"), ("limit", "usage")])
def test_a_container_limits_the_memory(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used = (tmp_path / name for name in names)
    limit.write_text("100000000\n")
    used.write_text("60000000\n")
    (tmp_path / "memory.stat").write_text("anon 35000000\ninactive_file 20000000\n")
    monkeypatch.setattr(machine, "_CGROUP_MEMORY", ((tmp_path / "none", names), (tmp_path, names)))
    assert machine.available_memory_bytes() == 60_000_000
    limit.write_text("max\n")
    assert machine.available_memory_bytes() > 100_000_000
    limit.write_text("10000000\n")  # lowered below what is used
    assert machine.available_memory_bytes() == 0


def test_memory_without_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = machine.available_memory_bytes()
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "none")
    assert machine.available_memory_bytes() == pytest.approx(expected, rel=0.3)
