"""How large a context is made and how much goes onto GPUs, with machines that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.engine import EngineOptions, LlamaEngine, sizing
from localllm.engine.sizing import Sizing, tell_about_gpus
from localllm.errors import ModelLoadError
from localllm.events import Event, Notice
from localllm.gguf_file import read_header
from localllm.memory import GPU_MARGIN_BYTES, footprint_of
from localllm.memory.offload import layers_that_fit
from localllm.native import devices
from localllm.native.devices import UnusedGPU
from localllm.native.library import Device
from localllm.native.model import Model

GIB = 1024**3


def a_gpu(free_bytes: int) -> Device:
    return Device("GPU0", "a GPU", free_bytes, 80 * GIB, is_gpu=True)


def with_gpus(monkeypatch: pytest.MonkeyPatch, *free_bytes: int) -> None:
    monkeypatch.setattr(sizing, "gpus", lambda: tuple(map(a_gpu, free_bytes)))


def sizes(path: Path, options: EngineOptions = EngineOptions()) -> Sizing:  # noqa: B008 (frozen)
    return Sizing(path, read_header(path), options)


def test_layers_are_counted_from_the_output(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    footprint = footprint_of(header)
    assert footprint is not None
    base = GPU_MARGIN_BYTES + footprint.buffer_bytes(256)
    output = 277 * 256 * 4 + 256 * 4
    layer = sum(tensor.size_bytes for tensor in header.tensors if tensor.name.startswith("blk.1."))
    layer += footprint.layer_cache_bytes(footprint.layers[1], 256)

    def fitting(*free: int) -> int:
        return layers_that_fit(header, footprint, free, 256)

    assert fitting(base + output - 1) == 0
    assert fitting(base + output) == 1
    assert fitting(base + output + layer - 1) == 1
    assert fitting(base + output + layer) == 2
    assert fitting(GIB) == 3
    assert fitting(base + output, base + layer) == 2  # what two have together
    assert fitting(0, 0) == 0


def test_the_other_files_of_a_split_model_count_too(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    footprint = footprint_of(header)
    assert footprint is not None
    assert layers_that_fit(header, footprint, (GIB,), 256, weight_bytes=30 * GIB) == 0


def test_without_a_gpu_nothing_goes_there(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    assert sizes(tiny_gguf).layer_counts("auto", 256) == [0]
    assert sizes(tiny_gguf).layer_counts("all", 256) == [0]


def test_what_is_tried_with_a_gpu(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, GIB)
    assert sizes(tiny_gguf).layer_counts("auto", 256) == [3, 2, 1, 0]
    assert sizes(tiny_gguf).layer_counts("all", 256) == [None]
    assert sizes(tiny_gguf).layer_counts(2, 256) == [2]
    assert sizes(tiny_gguf, EngineOptions(gpu_layers=0)).layer_counts(0, 256) == [0]
    with_gpus(monkeypatch, 1)
    assert sizes(tiny_gguf).layer_counts("auto", 256) == [0]


def test_fewer_layers_are_tried_when_it_does_not_work_out(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, GIB)
    tried: list[int | None] = []
    load = Model.__init__

    def refusing(self: Model, path: Path, *, gpu_layers: int | None = None) -> None:
        tried.append(gpu_layers)
        if gpu_layers is None or gpu_layers > 1:
            self._handle = None
            raise ModelLoadError("out of memory")
        load(self, path, gpu_layers=gpu_layers)

    monkeypatch.setattr(Model, "__init__", refusing)
    events: list[Event] = []
    with LlamaEngine(tiny_gguf, emit=events.append):
        assert tried == [3, 2, 1]
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.topic for notice in notices] == ["fewer-gpu-layers"]
    assert "3 layers: 1 are on it" in notices[0].message
    with pytest.raises(ModelLoadError):
        LlamaEngine(tiny_gguf, EngineOptions(gpu_layers="all"))


def test_a_gpu_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "unused_gpu", lambda: UnusedGPU("NVIDIA", "pip install something"))
    events: list[Event] = []
    tell_about_gpus(EngineOptions(), events.append)
    (notice,) = events
    assert isinstance(notice, Notice)
    assert notice.topic == "unused-gpu"
    assert notice.hint == "install one that can: `pip install something`"
    tell_about_gpus(EngineOptions(gpu_layers=0), events.append)
    assert len(events) == 1  # who wants none is not told


def test_asking_for_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "unused_gpu", lambda: None)
    monkeypatch.setattr(sizing, "gpus", lambda: ())
    events: list[Event] = []
    for layers in ("all", 5, "auto", 0):
        tell_about_gpus(EngineOptions(gpu_layers=layers), events.append)
    assert [event.topic for event in events if isinstance(event, Notice)] == ["no-gpu", "no-gpu"]


def test_the_signs_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class CPUOnly:
        def llama_supports_gpu_offload(self) -> bool:
            return False

    monkeypatch.setattr(devices, "llama", CPUOnly)
    monkeypatch.setattr(devices, "_SIGNS", ((tmp_path / "nvidia0", "NVIDIA", "GGML_CUDA"),))
    monkeypatch.setattr("sys.platform", "linux")
    assert devices.unused_gpu() is None
    (tmp_path / "nvidia0").touch()
    found = devices.unused_gpu()
    assert found is not None
    assert found.install == (
        'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir llama-cpp-python'
    )


def test_a_context_takes_what_fits(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch)
    header = read_header(tiny_gguf)
    footprint = footprint_of(header)
    assert footprint is not None
    found = sizes(tiny_gguf)
    monkeypatch.setattr(sizing, "_own_memory_bytes", lambda: 0)
    need = found._weight_bytes + found._context_bytes(2048)
    monkeypatch.setattr(sizing, "available_memory_bytes", lambda: int(need / 0.9) + 10)
    assert found.fits(2048)
    assert not found.fits(4096)
    assert found.first_context(10**6) == 2048
    assert found.first_context(1024) == 1024
    assert found.larger_context(1500, 1024, 10**6) == 2048
    assert found.larger_context(5000, 1024, 10**6) is None
    assert found.larger_context(1500, 1024, 1200) is None  # more than it was trained for


def test_a_model_too_large_for_the_memory_gets_the_usual_context(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "available_memory_bytes", lambda: 1000)
    assert sizes(tiny_gguf).first_context(10**6) == sizing.FIRST_CONTEXT


def test_weights_that_were_rearranged_are_not_counted_twice(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch)
    found = sizes(tiny_gguf)
    growth = found._context_bytes(2048) - found._context_bytes(1024)
    monkeypatch.setattr(sizing, "available_memory_bytes", lambda: int(growth / 0.9) + 100)
    monkeypatch.setattr(sizing, "_own_memory_bytes", lambda: 0)
    assert not found.fits(2048, 1024)
    monkeypatch.setattr(sizing, "_own_memory_bytes", lambda: found._weight_bytes + found._context_bytes(1024))
    assert found.fits(2048, 1024)


def test_a_smaller_cache_leaves_room_for_more(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = sizes(tiny_gguf)
    small = sizes(tiny_gguf, EngineOptions(cache_type_k="q8_0", cache_type_v="q8_0"))
    assert small._context_bytes(4096) < usual._context_bytes(4096)
