"""Headers of published models, made by the families' tables from what config.json says; weights are holes.

The numbers are those of the models' own config.json; what the converter does not read is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localllm.conversion.config import normalise
from localllm.conversion.families import family_of
from localllm.conversion.keys import encode_keys
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, TensorType, ValueType
from localllm.gguf_file.writer import Metadata, TensorEntry, array, encode_header, layout, string, uint32

_PLAIN = ("norm.weight", ".bias", "conv1d.weight", "ssm_a", "ssm_d", "gate_inp.weight")
_V2: dict[str, Any] = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "vocab_size": 102400,
    "max_position_embeddings": 163840,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "norm_topk_prob": False,
    "scoring_func": "softmax",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
        "beta_fast": 32,
        "beta_slow": 1,
        "original_max_position_embeddings": 4096,
    },
}
_GEMMA4: dict[str, Any] = {
    "architectures": ["Gemma4ForCausalLM"],
    "vocab_size": 262144,
    "head_dim": 256,
    "global_head_dim": 512,
    "sliding_window": 1024,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}
_WINDOWS = ["sliding_attention"] * 5 + ["full_attention"]
CONFIGS: dict[str, dict[str, Any]] = {
    "DeepSeek-V2-Lite": {
        **_V2,
        "hidden_size": 2048,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "q_lora_rank": None,
        "n_routed_experts": 64,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "greedy",
        "routed_scaling_factor": 1.0,
    },
    "DeepSeek-V2": {
        **_V2,
        "hidden_size": 5120,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "n_routed_experts": 160,
        "n_group": 8,
        "topk_group": 3,
        "topk_method": "group_limited_greedy",
        "routed_scaling_factor": 16.0,
    },
    "DeepSeek-V3": {
        **_V2,
        "architectures": ["DeepseekV3ForCausalLM"],
        "vocab_size": 129280,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "n_group": 8,
        "topk_group": 4,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "rope_scaling": {**_V2["rope_scaling"], "mscale": 1.0, "mscale_all_dim": 1.0},
    },
    "gemma-4-E2B": {
        **_GEMMA4,
        "hidden_size": 1536,
        "intermediate_size": 6144,
        "num_hidden_layers": 35,
        "layer_types": _WINDOWS[1:] * 7,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "num_kv_shared_layers": 20,
        "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 256,
        "sliding_window": 512,
    },
    "gemma-4-26B-A4B": {
        **_GEMMA4,
        "hidden_size": 2816,
        "intermediate_size": 2112,
        "num_hidden_layers": 30,
        "layer_types": _WINDOWS * 5,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 2,
        "attention_k_eq_v": True,
        "enable_moe_block": True,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
    },
    "gemma-4-31B": {
        **_GEMMA4,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_hidden_layers": 60,
        "layer_types": _WINDOWS * 10,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "num_global_key_value_heads": 4,
        "attention_k_eq_v": True,
    },
    "Mamba-Codestral-7B": {
        "architectures": ["Mamba2ForCausalLM"],
        "vocab_size": 32768,
        "hidden_size": 4096,
        "num_hidden_layers": 64,
        "num_heads": 128,
        "head_dim": 64,
        "n_groups": 8,
        "state_size": 128,
        "time_step_limit": [0.0, float("inf")],
    },
    "granite-3.1-3b-a800m": {
        "architectures": ["GraniteMoeForCausalLM"],
        "vocab_size": 49155,
        "hidden_size": 1536,
        "intermediate_size": 512,
        "num_hidden_layers": 32,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 40,
        "num_experts_per_tok": 8,
        "max_position_embeddings": 131072,
        "attention_multiplier": 0.015625,
        "embedding_multiplier": 12.0,
        "residual_multiplier": 0.22,
        "logits_scaling": 6.0,
        "tie_word_embeddings": True,
    },
}


def write_published_gguf(
    path: Path, name: str, type_name: str = "Q4_K", *, with_vocabulary: bool = False
) -> Path:
    """Write the header of one of CONFIGS and holes for its weights; return the path."""
    raw = CONFIGS[name]
    family = family_of(raw["architectures"][0], raw)
    config = normalise(raw, family.defaults)
    family.check(config)
    metadata = {
        str(Key.ARCHITECTURE): string(family.arch),
        **(
            _vocabulary(raw["vocab_size"])
            if with_vocabulary
            else {str(Key.TOKENIZER_MODEL): string("no_vocab")}
        ),
        **encode_keys(family.arch, family.keys, config),
        **{f"{family.arch}.{suffix}": value for suffix, value in family.scaling(config)},
    }
    metadata.setdefault(f"{family.arch}.vocab_size", uint32(raw["vocab_size"]))
    rows = (raw["hidden_size"], raw["vocab_size"])
    tied = bool(raw.get("tie_word_embeddings"))
    tensors = [("token_embd.weight", rows), *family.expected(config)]
    tensors += [(computed.name, computed.values.shape) for computed in family.computed(config)]
    tensors += [] if tied else [("output.weight", rows)]
    infos = layout(TensorEntry(label, shape, _type_of(label, shape, type_name)) for label, shape in tensors)
    with path.open("wb") as file:
        file.write(encode_header(metadata, infos))
        file.truncate(file.tell() + infos[-1].offset + infos[-1].size_bytes)
    return path


def _vocabulary(rows: int) -> Metadata:
    return {
        str(Key.TOKENIZER_MODEL): string("gpt2"),
        str(Key.TOKENIZER_PRE): string("gpt-2"),
        str(Key.TOKENS): array(ValueType.STRING, [f"t{number}" for number in range(rows)]),
        str(Key.MERGES): array(ValueType.STRING, ["t 0"]),
    }


def _type_of(label: str, shape: tuple[int, ...], type_name: str) -> TensorType:
    wanted = TENSOR_TYPES_BY_NAME[type_name]
    if len(shape) == 1 or label.endswith(_PLAIN):
        return TENSOR_TYPES_BY_NAME["F32"]
    return TENSOR_TYPES_BY_NAME["F16"] if shape[0] % wanted.block_size else wanted
