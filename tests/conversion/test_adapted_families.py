"""Adapters of families that move rows and columns: beside the model they compute what merged ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.test_gguf_adapter import adapted_logits
from tests.adapters.tiny_adapters import TinyAdapter, write_tiny_adapter
from tests.conversion.logits import relative_difference, runtime_logits

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MODULES: dict[str, tuple[str, ...]] = {
    "ministral3": _ATTENTION,
    "glm4": (*_ATTENTION, "gate_up_proj", "down_proj"),
    "lfm2": ("q_proj", "k_proj", "v_proj", "in_proj", "out_proj", "w1", "w2", "w3"),
    "granite4": (*_ATTENTION, "in_proj", "out_proj"),
    "granite4-dense": (*_ATTENTION, "input_linear", "output_linear"),
    "qwen3.5": (*_ATTENTION, "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "down_proj"),
    "gpt-oss": _ATTENTION,
    "llama4": _ATTENTION,
}


@pytest.mark.parametrize("name", MODULES)
def test_it_computes_what_the_merged_model_computes(name: str, tmp_path: Path) -> None:
    adapter = TinyAdapter(MODULES[name], family=name)
    base = adapter.write_base(tmp_path / "base")
    directory = write_tiny_adapter(tmp_path / "adapter", adapter)
    merged = runtime_logits(base, adapters=(directory,))
    assert relative_difference(adapted_logits(base, directory, tmp_path), merged) < 1e-3
    assert relative_difference(runtime_logits(base), merged) > 0.01  # it changes something
