"""What is found out of the installed llama.cpp without loading it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from localllm.errors import NativeCrashError
from localllm.native import installed
from localllm.native.installed import gpus, knows_architecture, may_have_gpu

CARD = {"name": "CUDA0", "description": "Card", "free_bytes": 5, "total_bytes": 9, "is_gpu": True}
PROCESSOR = {"name": "CPU", "description": "CPU", "free_bytes": 5, "total_bytes": 9, "is_gpu": False}


def test_architectures() -> None:
    assert all(map(knows_architecture, ("llama", "gemma3", "qwen3moe", "gpt-oss", "lfm2")))
    for name in ("llama99", "gemma3\n", "ll\u00e4ma", "qwen3mo"):
        assert knows_architecture(name) is False


def test_without_the_library_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert knows_architecture("llama") is None
    assert not may_have_gpu()


@pytest.fixture
def built_for_cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A llama.cpp with a CUDA backend, and a device that is there; return the device."""
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    (tmp_path / "libggml-cuda.so").touch()
    device = tmp_path / "nvidia0"
    device.touch()
    monkeypatch.setattr(installed, "_DEVICES", (str(device),))
    return device


def test_a_gpu_needs_a_backend_and_a_device(built_for_cuda: Path) -> None:
    assert may_have_gpu()
    built_for_cuda.unlink()
    assert may_have_gpu() is not sys.platform.startswith("linux")


def test_a_backend_for_the_processor_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    for name in ("libggml-cpu.so", "libggml-base.so.0", "libggml-blas.so"):
        (tmp_path / name).touch()
    monkeypatch.setattr(installed, "_DEVICES", (str(tmp_path),))
    assert not may_have_gpu()


def test_gpus_are_asked_for_in_a_child(built_for_cuda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(entry: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert entry == "localllm.native.installed:devices_job"
        return [PROCESSOR, CARD]

    monkeypatch.setattr("localllm.native.worker.run_job", answer)
    assert [device.description for device in gpus()] == ["Card"]


def test_a_driver_that_crashes_is_none(built_for_cuda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(entry: str, arguments: Mapping[str, Any]) -> None:
        raise NativeCrashError("llama.cpp was killed by SIGSEGV")

    monkeypatch.setattr("localllm.native.worker.run_job", crash)
    assert list(gpus()) == []


def test_the_child_names_this_machines_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    from localllm.native.worker import run_job

    found = run_job("localllm.native.installed:devices_job", {})
    assert any(device["name"].startswith("CPU") for device in found)
