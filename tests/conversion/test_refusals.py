"""What llama.cpp would compute otherwise than the model was trained is refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import localllm
from localllm.conversion.config import normalise
from localllm.conversion.families import FAMILIES as TABLES
from localllm.conversion.families import family_of
from localllm.errors import LocalLLMError, UnsupportedModelError
from tests.conversion.tiny_families import FAMILIES

# names of tokenizers and of ways to split texts, too
_TOKENIZERS = {"llama", "llama4", "gpt2", "qwen2", "qwen3", "qwen35", "lfm2", "glm4", "gpt-oss"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("glm4", {"rope_scaling": {"mrope_section": [1, 1, 2]}}, "rotation in sections"),
    ("olmo3", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 2.0,
                                "original_max_position_embeddings": 128}}, "attention_factor .* is 2.0"),
    ("ministral3", {"model_type": "mistral4"}, "Mistral 4"),
    ("lfm2", {"conv_bias": True}, "conv_bias is True"),
    ("lfm2-moe", {"routed_scaling_factor": 2.0}, "routed_scaling_factor is 2.0"),
    ("lfm2", {"head_dim": 32}, "the heads are not as wide as the model"),
    ("granite4", {"mamba_n_groups": 2}, "mamba_n_groups is 2"),
    ("granite4", {"position_embedding_type": "rope"}, "position_embedding_type is 'rope'"),
    ("granite4", {"mamba_expand": 3}, "mamba_expand is 3"),
    ("qwen3.5", {"linear_value_head_dim": 32}, "linear_value_head_dim is 32"),
    ("qwen3.5", {"linear_num_value_heads": 3}, "3 value heads cannot share 2 key heads"),
    ("qwen3.5", {"attn_output_gate": False}, "attn_output_gate is False"),
    ("gpt-oss", {"swiglu_limit": 6.0}, "swiglu_limit is 6.0"),
    ("gpt-oss", {"layer_types": ["full_attention"] * 2}, "layer_types is"),
    ("llama4", {"attention_chunk_size": 4096}, "attention_chunk_size is 4096"),
    ("llama4", {"no_rope_layers": [1, 1, 1, 1]}, "no_rope_layers is"),
    ("qwen3-vl", {"text_config": {"num_hidden_layers": 2}}, "2 of 2 layers take features of images"),
    ("qwen3-vl", {"text_config": {"rope_scaling": {"mrope_section": [1]}}}, "mrope_section must be three"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED)
def test_what_the_runtime_would_compute_otherwise(name: str, changes: dict[str, Any], message: str) -> None:
    raw = FAMILIES[name].full_config()
    nested = raw.get("text_config")
    if nested and "text_config" in changes:
        changes = {"text_config": {**nested, **changes["text_config"]}}
    raw = {**raw, **changes}
    family = family_of(FAMILIES[name].architecture, raw)
    with pytest.raises(LocalLLMError, match=message):
        config = normalise(raw, family.defaults)
        family.check(config)
        dict(family.scaling(config))
        [key.value(config) for key in family.keys]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_converted_is_not_refused(name: str) -> None:
    raw = FAMILIES[name].full_config()
    family = family_of(FAMILIES[name].architecture, raw)
    family.check(normalise(raw, family.defaults))


@pytest.mark.parametrize(
    ("architecture", "family"),
    [
        ("Gemma3nForConditionalGeneration", "Gemma 3n"),
        ("FalconH1ForCausalLM", "Falcon-H1"),
        ("GlmMoeDsaForCausalLM", "GLM-5"),
    ],
)
def test_families_that_are_programs_are_named(architecture: str, family: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"^{family} is not supported"):
        family_of(architecture)


def test_an_architecture_with_another_configuration() -> None:
    with pytest.raises(UnsupportedModelError, match=r"is supported, but not with this config\.json"):
        family_of("GraniteMoeHybridForCausalLM", {"layer_types": ["attention"], "num_local_experts": 4})


def test_nothing_outside_the_tables_asks_for_a_family() -> None:
    root = Path(localllm.__file__).parent / "conversion"
    names = {
        name for table in TABLES for name in (table.arch, table.name, *table.architectures)
    } - _TOKENIZERS
    asked = re.compile("|".join(f'"{re.escape(name)}"' for name in sorted(names)))
    found = [
        f"{path.name}: {asked.findall(text)}"
        for path in root.glob("*.py")
        if asked.search(text := path.read_text(encoding="utf-8"))
    ]
    assert not found
