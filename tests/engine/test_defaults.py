"""Where sampling values come from: given, the file, generation_config.json, ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.engine import LlamaEngine, SamplingOptions, Setting, Source
from localllm.engine.defaults import DEFAULTS, read_generation_config, recommended
from localllm.gguf_file import read_header
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, float32, uint32
from tests.tiny_gguf import build_tiny_gguf


def settings(tmp_path: Path, overrides: dict[str, TypedValue], config: dict[str, Any]) -> dict[str, Setting]:
    path = build_tiny_gguf(tmp_path / "model.gguf", width=64, layers=1, overrides=overrides)
    return recommended(read_header(path), config)


def test_ours_when_nobody_says_anything(tmp_path: Path) -> None:
    found = settings(tmp_path, {}, {})
    assert found == {name: Setting(value, Source.DEFAULT) for name, value in DEFAULTS.items()}


def test_the_file_comes_before_generation_config(tmp_path: Path) -> None:
    overrides = {
        "general.sampling.temp": float32(0.25),
        "general.sampling.top_k": TypedValue(ValueType.INT32, 7),
        "general.sampling.penalty_repeat": float32(1.5),
    }
    found = settings(tmp_path, overrides, {"temperature": 0.5, "top_p": 0.5, "repetition_penalty": 1.2})
    assert found["temperature"] == Setting(0.25, Source.FILE)
    assert found["top_k"] == Setting(7, Source.FILE)
    assert found["repeat_penalty"] == Setting(1.5, Source.FILE)
    assert found["top_p"] == Setting(0.5, Source.GENERATION_CONFIG)
    assert found["min_p"].source is Source.DEFAULT


@pytest.mark.parametrize("value", [99.0, -1.0, float("nan")])
def test_values_out_of_range_are_passed_over(tmp_path: Path, value: float) -> None:
    found = settings(
        tmp_path, {"general.sampling.temp": float32(value)}, {"temperature": value, "top_k": "x"}
    )
    assert found["temperature"].source is Source.DEFAULT
    assert found["top_k"].source is Source.DEFAULT


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b'{"a":' * 5000])
def test_a_generation_config_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "generation_config.json").write_bytes(content)
    assert read_generation_config(tmp_path) == {}
    assert read_generation_config(tmp_path / "none") == {}


def test_the_engine_tells_what_is_in_effect(tmp_path: Path) -> None:
    path = build_tiny_gguf(
        tmp_path / "model.gguf", width=64, layers=1, overrides={"general.sampling.top_k": uint32(7)}
    )
    (tmp_path / "generation_config.json").write_text(json.dumps({"top_p": 0.5}), "ascii")
    with LlamaEngine(path) as engine:
        found = engine.effective(SamplingOptions(temperature=0.1, n=2))
    assert found["temperature"] == Setting(0.1, Source.GIVEN)
    assert found["top_k"] == Setting(7, Source.FILE)
    assert found["top_p"] == Setting(0.5, Source.GENERATION_CONFIG)
    assert found["min_p"] == Setting(DEFAULTS["min_p"], Source.DEFAULT)
    assert found["n"] == Setting(2, Source.GIVEN)
    assert found["stop"] == Setting((), Source.DEFAULT)
    assert list(found) == [*SamplingOptions.__dataclass_fields__]


def test_the_demo_says_itself_how_to_be_sampled(demo_path: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        sources = {name: setting.source for name, setting in engine.effective(SamplingOptions()).items()}
    assert Source.FILE in sources.values()
