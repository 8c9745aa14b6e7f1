"""What config.json says in tiny models with latent attention or states alone, and in Granite's mixtures."""

from __future__ import annotations

from typing import Any

_LATENT: dict[str, Any] = {
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 24,
    "moe_intermediate_size": 32,
    "moe_layer_freq": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
    "rms_norm_eps": 1e-6,
}
_YARN = {
    "type": "yarn",
    "factor": 8.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
}
DEEPSEEK2: dict[str, Any] = _LATENT | {
    "n_shared_experts": 2,
    "n_group": 1,
    "topk_group": 1,
    "topk_method": "greedy",
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "routed_scaling_factor": 1.5,
    "rope_scaling": _YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
}
# llama.cpp knows models without compressed queries by their number of layers
DEEPSEEK2_LITE: dict[str, Any] = DEEPSEEK2 | {
    "num_hidden_layers": 26,
    "q_lora_rank": None,
    "first_k_dense_replace": 24,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "rope_scaling": None,
}
DEEPSEEK3: dict[str, Any] = _LATENT | {
    "n_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1,
    "rope_scaling": _YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
}

MAMBA2: dict[str, Any] = {
    "vocab_size": 288,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_heads": 8,
    "head_dim": 16,
    "state_size": 16,
    "conv_kernel": 4,
    "expand": 2,
    "n_groups": 1,
    "use_bias": False,
    "use_conv_bias": True,
    "chunk_size": 16,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
}
CODESTRAL: dict[str, Any] = MAMBA2 | {"n_groups": 2, "tie_word_embeddings": False}

GRANITE_SCALES: dict[str, Any] = {
    "rms_norm_eps": 1e-5,
    "attention_multiplier": 0.3,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.5,
    "logits_scaling": 2.0,
    "tie_word_embeddings": True,
}
GRANITE3_MOE: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2, **GRANITE_SCALES}
GRANITE4_MOE: dict[str, Any] = {
    "num_local_experts": 4,
    "num_hidden_layers": 2,
    "layer_types": ["attention", "attention"],
    "position_embedding_type": "rope",
    "shared_intermediate_size": 96,
}
