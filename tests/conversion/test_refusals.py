"""What llama.cpp would compute otherwise than the model was trained is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localllm.conversion import families
from localllm.conversion.config import normalise
from localllm.conversion.families import family_of
from localllm.conversion.families.granite4_dense import GRANITE4_DENSE
from localllm.errors import LocalLLMError, UnsupportedModelError
from tests.conversion.tiny_families import FAMILIES

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
    ("granite4-dense", {"position_embedding_type": "nope"}, "position_embedding_type is 'nope'"),
    ("granite4-moe", {"head_dim": 32}, "head_dim 32 is not hidden_size / heads"),
    ("deepseek2", {"q_lora_rank": None}, "DeepSeek models of 3 layers for those with one"),
    ("deepseek2", {"num_hidden_layers": 27}, "models of 27 layers for those without one"),
    ("deepseek2", {"norm_topk_prob": True}, "norm_topk_prob is True"),
    ("deepseek2", {"attention_bias": True}, "attention_bias is True"),
    ("deepseek2", {"moe_layer_freq": 2}, "moe_layer_freq is 2"),
    ("deepseek2", {"num_key_value_heads": 2}, "num_key_value_heads is 2"),
    ("deepseek2", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "of type `linear` is not supported"),
    ("deepseek2", {"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 0.5, "mscale_all_dim": 1.0}},
     "mscale is 0.5, mscale_all_dim 1.0"),
    ("deepseek2", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "mscale is None, mscale_all_dim None"),
    ("deepseek3", {"scoring_func": "softmax"}, "scoring_func is 'softmax'"),
    ("deepseek3", {"topk_method": "greedy"}, "topk_method is 'greedy'"),
    ("deepseek3", {"rope_interleave": False}, "rope_interleave is False"),
    ("mamba2", {"use_bias": True}, "use_bias is True"),
    ("mamba2", {"use_conv_bias": False}, "use_conv_bias is False"),
    ("mamba2", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ("mamba2", {"time_step_limit": [0.0, 0.1]}, r"time_step_limit is \[0.0, 0.1\]"),
    ("mamba2", {"n_groups": 3}, "8 heads in 3 groups cannot share 128 channels"),
    ("mamba2", {"head_dim": 32}, "8 heads of 32 channels are not 128 together"),
    ("qwen3.5", {"linear_value_head_dim": 32}, "linear_value_head_dim is 32"),
    ("qwen3.5", {"linear_num_value_heads": 3}, "3 value heads cannot share 2 key heads"),
    ("qwen3.5", {"attn_output_gate": False}, "attn_output_gate is False"),
    ("qwen3-next", {"linear_value_head_dim": 32}, "linear_value_head_dim is 32"),
    ("qwen3-next", {"norm_topk_prob": False}, "norm_topk_prob is False"),
    ("qwen3-next", {"mlp_only_layers": [0]}, r"mlp_only_layers is \[0\]"),
    ("qwen3-vl-moe", {"text_config": {"norm_topk_prob": False}}, "norm_topk_prob is False"),
    ("qwen3-vl-moe", {"text_config": {"mlp_only_layers": [1]}}, "dense layers among the mixtures"),
    ("qwen3-vl-moe", {"text_config": {"num_hidden_layers": 2}}, "2 of 2 layers take features of images"),
    ("gemma4", {"attention_bias": True}, "attention_bias is True"),
    ("gemma4", {"hidden_activation": "silu"}, "hidden_activation is 'silu'"),
    ("gemma4", {"use_bidirectional_attention": "all"}, "use_bidirectional_attention is 'all'"),
    ("gemma4", {"layer_types": None}, "must name a kind for each of 4 layers"),
    ("gemma4", {"layer_types": ["sliding_attention"] * 4}, "the last one of these"),
    ("gemma4", {"layer_types": ["full_attention"] * 4}, "the last one of these"),
    ("gemma4", {"num_global_key_value_heads": 3}, "4 attention heads cannot share 3 key-value heads"),
    ("gemma4", {"num_kv_shared_layers": 1}, "num_kv_shared_layers is 1"),
    ("gemma4", {"num_kv_shared_layers": 9}, "num_kv_shared_layers is 9"),
    ("gemma4", {"rope_parameters": {"rope_type": "default"}}, "tell full_attention from sliding_attention"),
    ("gemma4", {"rope_parameters": {"full_attention": {"rope_type": "proportional", "rope_theta": 1e6},
                                    "sliding_attention": {}}}, "lacks a rope_theta"),
    ("gemma4", {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                                    "sliding_attention": {"rope_theta": 1e4}}}, "of types 'default' and"),
    ("gemma4", {"rope_parameters": {"full_attention": {"rope_type": "proportional", "rope_theta": 1e6,
                                                       "factor": 2.0},
                                    "sliding_attention": {"rope_theta": 1e4}}}, "by no factor"),
    ("gemma4", {"per_layer_config": {"1": {"head_dim": 32}, "3": {"head_dim": 64}}},
     "head_dim differs among layers of one type"),
    ("gemma4", {"per_layer_config": {"1": {"num_key_value_heads": 1}}}, "num_key_value_heads differs"),
    ("gemma4", {"per_layer_config": [1]}, "`per_layer_config` does not map numbers of layers"),
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


@pytest.mark.parametrize(
    ("name", "changes", "is_told"),
    [
        ("ministral3", {"sliding_window": 16}, True),
        ("ministral3", {"sliding_window": None}, False),
        ("mistral-nemo", {"sliding_window": 4096, "max_position_embeddings": 32768}, True),
        ("mistral-nemo", {"sliding_window": 4096, "max_position_embeddings": 4096}, False),
        ("qwen2", {"sliding_window": 16}, False),
        ("qwen3", {"sliding_window": 16, "use_sliding_window": True}, True),
        ("olmo3", {"sliding_window": 16}, False),
    ],
)
def test_a_window_that_the_runtime_does_not_have(name: str, changes: dict[str, Any], is_told: bool) -> None:
    raw = {**FAMILIES[name].full_config(), **changes}
    family = family_of(FAMILIES[name].architecture, raw)
    told = [
        remark for remark in family.remarks(normalise(raw, family.defaults)) if "sliding_window" in remark
    ]
    assert bool(told) == is_told


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
        ("DeepseekV32ForCausalLM", "DeepSeek-V3.2"),
    ],
)
def test_families_that_are_programs_are_named(architecture: str, family: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"^{family} is not supported"):
        family_of(architecture)


def test_an_architecture_with_another_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", (replace(GRANITE4_DENSE, matches=lambda _: False),))
    with pytest.raises(UnsupportedModelError, match=r"is supported, but not with this config\.json"):
        family_of("GraniteMoeHybridForCausalLM")
