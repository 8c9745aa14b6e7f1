"""Damaged and hostile configurations end in an error of one line, whatever is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.checkpoint import open_checkpoint
from localllm.conversion.prepare import Wishes, prepare
from localllm.errors import LocalLLMError
from localllm.events import ignore
from localllm.gguf_file.writer import encode_header
from tests.conversion.test_hostile_tokenizers import changes_of, mutated
from tests.conversion.tiny_families import FAMILIES, write_tiny_family
from tests.conversion.tiny_llama import LLAMA3_ROPE, TinyLlama, write_tiny_llama

GENERATION = {"eos_token_id": [257, 256], "temperature": 0.6, "top_k": 40, "top_p": 0.9, "sequence": "x"}
LLAMA = {
    **json.loads(json.dumps(FAMILIES["llama-3.1"].full_config())),
    "rope_scaling": LLAMA3_ROPE,
    "_name_or_path": "a/b",
}
PHI = json.loads(json.dumps(FAMILIES["phi3-long"].full_config()))
MIXTURE = json.loads(json.dumps(FAMILIES["qwen2-moe"].full_config()))


@pytest.fixture(scope="session")
def tinies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("hostile-configs")
    return {
        "llama": write_tiny_llama(place / "llama", TinyLlama("BF16")),
        "phi": write_tiny_family(place / "phi", "phi3-long"),
        **{name: write_tiny_family(place / name, name) for name in OTHERS},
        "mixture": write_tiny_family(place / "mixture", "qwen2-moe"),
    }


def outcome(directory: Path, config: dict[str, Any], generation: dict[str, Any]) -> str:
    """Return the message a preparation ends with, nothing when it succeeds."""
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "generation_config.json").write_text(json.dumps(generation))
    try:
        work = prepare(open_checkpoint(directory), Wishes(), ignore)
        encode_header(work.metadata, [])
    except LocalLLMError as error:
        return error.message
    return ""


@given(changes_of(LLAMA), changes_of(GENERATION))
def test_llama(tinies: dict[str, Path], of_config: list[Any], of_generation: list[Any]) -> None:
    config, generation = mutated(LLAMA, of_config), mutated(GENERATION, of_generation)
    assert "\n" not in outcome(tinies["llama"], config, generation)


@given(changes_of(PHI), st.just([]))
def test_long_rope(tinies: dict[str, Path], of_config: list[Any], of_generation: list[Any]) -> None:
    assert "\n" not in outcome(tinies["phi"], mutated(PHI, of_config), mutated(GENERATION, of_generation))


OTHERS = (
    *("lfm2-moe", "granite4", "qwen3.5", "gpt-oss", "llama4", "ministral3", "qwen3-vl", "glm4-moe"),
    *("deepseek2", "deepseek3", "mamba2", "granite4-moe"),
)
CONFIGS = {name: json.loads(json.dumps(FAMILIES[name].full_config())) for name in OTHERS}


@given(st.sampled_from(OTHERS).flatmap(lambda name: st.tuples(st.just(name), changes_of(CONFIGS[name]))))
def test_the_families_of_2026(tinies: dict[str, Path], case: tuple[str, list[Any]]) -> None:
    name, changes = case
    assert "\n" not in outcome(tinies[name], mutated(CONFIGS[name], changes), GENERATION)


@given(changes_of(MIXTURE))
def test_a_mixture(tinies: dict[str, Path], of_config: list[Any]) -> None:
    assert "\n" not in outcome(tinies["mixture"], mutated(MIXTURE, of_config), GENERATION)
