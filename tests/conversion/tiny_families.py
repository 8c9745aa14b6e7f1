"""One tiny checkpoint for each model family: its config.json here, its tensors as transformers names them.

The names and shapes in families/*.json were written by `scripts/check_logits.py --write-golden`. The
weights are seeded: biases and norms far from trivial, heads not hidden size / heads wide where legal.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.conversion import tiny_pairs, tiny_tokenizer
from tests.conversion.tiny_latents import (
    CODESTRAL,
    DEEPSEEK2,
    DEEPSEEK2_LITE,
    DEEPSEEK3,
    GRANITE3_MOE,
    GRANITE4_MOE,
    GRANITE_SCALES,
    MAMBA2,
)
from tests.conversion.tiny_llama import (
    LLAMA3_ROPE,
    ROWS,
    TEMPLATE,
    Tensors,
    TinyLlama,
    draw_weights,
    write_json,
    write_weights,
)
from tests.conversion.tiny_sentencepiece import BOS, EOS, tiny_sentencepiece

SHAPES = Path(__file__).parent / "families"
_TORCH_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_BASE: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rope_theta": 50000.0,
    "tie_word_embeddings": False,
}
_WIDE_HEADS = {"head_dim": 32}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
_GLM_SPECIAL = ("[gMASK]", "<|user|>", "<|observation|>")
_GLM_TEMPLATE = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}"
_LONG_ROPE = {
    "type": "longrope",
    "long_factor": [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0],
    "short_factor": [1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6],
}


@dataclass(frozen=True)
class TinyFamily:
    """A checkpoint: the changes to the common configuration, and how the weights are stored."""

    architecture: str
    model_type: str
    config: dict[str, Any] = field(default_factory=dict)
    dtype: str = "F32"
    sentencepiece: bool = False
    pairs: bool = False  # of characters, as Gemma 4's vocabulary
    adds_space: bool = True
    tokenizer_class: str = "PreTrainedTokenizerFast"
    norm_offset: float = 1.0
    is_bare: bool = False  # `config` is all there is
    special: tuple[str, ...] = ()  # further special tokens
    template: str = TEMPLATE
    transformers: int = 4  # the first version that knows the family
    reference_fails: bool = False  # the reference converter refuses it: no parity, but logits

    def full_config(self) -> dict[str, Any]:
        """Return config.json."""
        bos, eos = (BOS, EOS) if self.sentencepiece else (tiny_tokenizer.BOS, tiny_tokenizer.EOS)
        if self.pairs:
            bos, eos = tiny_pairs.BOS, tiny_pairs.EOS
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            **({} if self.is_bare else _BASE),
            **self.config,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": eos,
            "torch_dtype": _TORCH_DTYPES[self.dtype],
        }


_gemma = partial(TinyFamily, dtype="BF16", sentencepiece=True, adds_space=False, norm_offset=0.0)

_SINCE_5: dict[str, Any] = {"norm_offset": 0.0, "transformers": 5}
_QWEN35 = {
    **_WIDE_HEADS,
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "full_attention"] * 2,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_theta": None,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 50000.0,
        "mrope_section": [2, 1, 1],
        "partial_rotary_factor": 0.25,
    },
    "rms_norm_eps": 1e-6,
}
_DEEP_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "deepstack_visual_indexes": [0, 1],
    "num_position_embeddings": 16,
}
_GRANITE4 = {
    "num_hidden_layers": 3,
    "layer_types": ["mamba", "attention", "mamba"],
    "position_embedding_type": "nope",
    "num_experts_per_tok": 2,
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    **GRANITE_SCALES,
}


def _granite4(config: dict[str, Any], *, reference_fails: bool = False) -> TinyFamily:
    return TinyFamily(
        "GraniteMoeHybridForCausalLM",
        "granitemoehybrid",
        _GRANITE4 | config,
        dtype="BF16",
        reference_fails=reference_fails,
    )


_gemma4 = partial(
    TinyFamily, dtype="BF16", pairs=True, template=tiny_pairs.TEMPLATE, transformers=5, is_bare=True
)
_GEMMA4: dict[str, Any] = {
    **_BASE,
    "vocab_size": tiny_pairs.ROWS,
    "vocab_size_per_layer_input": tiny_pairs.ROWS,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 16,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "rope_theta": None,
    "rope_parameters": {
        "full_attention": {
            "rope_type": "proportional",
            "partial_rotary_factor": 0.25,
            "rope_theta": 1000000.0,
        },
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "hidden_activation": "gelu_pytorch_tanh",
    "final_logit_softcapping": 30.0,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


FAMILIES: dict[str, TinyFamily] = {
    "llama-2": TinyFamily("LlamaForCausalLM", "llama", dtype="F16", sentencepiece=True),
    "llama-3.1": TinyFamily(
        "LlamaForCausalLM",
        "llama",
        {**_WIDE_HEADS, "rope_scaling": LLAMA3_ROPE, "attention_bias": True, "tie_word_embeddings": True},
        dtype="BF16",
    ),
    "mistral-nemo": TinyFamily("MistralForCausalLM", "mistral", _WIDE_HEADS, dtype="BF16"),
    "mixtral": TinyFamily(
        "MixtralForCausalLM", "mixtral", {**_WIDE_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2}
    ),
    "granite": TinyFamily(
        "GraniteForCausalLM",
        "granite",
        {
            "attention_multiplier": 0.3,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "logits_scaling": 2.0,
            "attention_bias": True,
        },
        dtype="BF16",
    ),
    "smollm3": TinyFamily("SmolLM3ForCausalLM", "smollm3", {"num_hidden_layers": 4}, dtype="BF16"),
    "qwen2": TinyFamily("Qwen2ForCausalLM", "qwen2", {"tie_word_embeddings": True}, dtype="BF16"),
    "qwen2-moe": TinyFamily(
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        {**_EXPERTS, "shared_expert_intermediate_size": 96, "tie_word_embeddings": True},
        dtype="BF16",
    ),
    "qwen3": TinyFamily("Qwen3ForCausalLM", "qwen3", _WIDE_HEADS, dtype="F16"),
    "qwen3-moe": TinyFamily(
        "Qwen3MoeForCausalLM", "qwen3_moe", {**_WIDE_HEADS, **_EXPERTS, "norm_topk_prob": True}
    ),
    "gemma2": _gemma(
        "Gemma2ForCausalLM",
        "gemma2",
        {
            **_WIDE_HEADS,
            "query_pre_attn_scalar": 32,
            "sliding_window": 16,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "hidden_activation": "gelu_pytorch_tanh",
        },
    ),
    "gemma3": _gemma(
        "Gemma3ForCausalLM",
        "gemma3_text",
        {
            **_WIDE_HEADS,
            "num_hidden_layers": 7,
            "query_pre_attn_scalar": 32,
            "sliding_window": 16,
            "tie_word_embeddings": True,
            "hidden_activation": "gelu_pytorch_tanh",
        },
    ),
    "gemma4": _gemma4(
        "Gemma4ForCausalLM",
        "gemma4_text",
        {**_GEMMA4, "attention_k_eq_v": True, "num_global_key_value_heads": 1},
    ),
    "gemma4-ple": _gemma4(
        "Gemma4ForConditionalGeneration",
        "gemma4",
        {
            "text_config": {
                **_GEMMA4,
                "model_type": "gemma4_text",
                "hidden_size_per_layer_input": 8,
                "num_kv_shared_layers": 2,
                "use_double_wide_mlp": True,
                "num_global_key_value_heads": None,
            },
            "vision_config": None,
            "audio_config": None,
            "tie_word_embeddings": True,
        },
    ),
    "gemma4-moe": _gemma4(
        "Gemma4ForCausalLM",
        "gemma4_text",
        {
            **{name: value for name, value in _GEMMA4.items() if name != "global_head_dim"},
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 32,
            "attention_k_eq_v": True,
            "per_layer_config": {layer: {"head_dim": 32, "num_key_value_heads": 1} for layer in ("1", "3")},
        },
    ),
    "phi3": TinyFamily("Phi3ForCausalLM", "phi3", dtype="BF16", sentencepiece=True),
    "phi3-long": TinyFamily(
        "Phi3ForCausalLM",
        "phi3",
        {"original_max_position_embeddings": 256, "rope_scaling": _LONG_ROPE, "sliding_window": 64},
        sentencepiece=True,
    ),
    "phi4-mini": TinyFamily(
        "Phi3ForCausalLM",
        "phi3",
        {
            "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 256,
            "rope_scaling": {
                name: _LONG_ROPE[name][:6] if name != "type" else "longrope" for name in _LONG_ROPE
            },
            "tie_word_embeddings": True,
        },
        dtype="BF16",
        tokenizer_class="GPT2Tokenizer",  # tells the reference that it is no SentencePiece
    ),
    "olmo2": TinyFamily("Olmo2ForCausalLM", "olmo2", {"tie_word_embeddings": True}),
    "olmo3": TinyFamily(
        "Olmo3ForCausalLM",
        "olmo3",
        {
            "num_hidden_layers": 4,
            "sliding_window": 16,
            "rope_scaling": {**_YARN, "attention_factor": 1.138629436111989},
        },
        dtype="BF16",
    ),
    "glm4": TinyFamily(
        "Glm4ForCausalLM",
        "glm4",
        {**_WIDE_HEADS, "partial_rotary_factor": 0.5, "attention_bias": True, "rms_norm_eps": 1e-5},
        dtype="BF16",
        special=_GLM_SPECIAL,
        template=_GLM_TEMPLATE,
    ),
    "qwen2.5-vl": TinyFamily(
        "Qwen2_5_VLForConditionalGeneration",
        "qwen2_5_vl",
        {
            "rms_norm_eps": 1e-12,  # llama.cpp takes none for this architecture, whatever the file says
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "vision_config": {
                "depth": 1,
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_heads": 2,
                "out_hidden_size": 64,
            },
        },
        dtype="BF16",
    ),
    "qwen3-vl": TinyFamily(
        "Qwen3VLForConditionalGeneration",
        "qwen3_vl",
        {
            "text_config": {
                **_BASE,
                **_WIDE_HEADS,
                "model_type": "qwen3_vl_text",
                "num_hidden_layers": 3,
                "rope_scaling": {"rope_type": "default", "mrope_section": [6, 5, 5]},  # all of a head
                "tie_word_embeddings": True,
            },
            "vision_config": _DEEP_VISION,
            "tie_word_embeddings": True,
        },
        is_bare=True,
    ),
    "glm4-moe": TinyFamily(
        "Glm4MoeForCausalLM",
        "glm4_moe",
        {
            **_WIDE_HEADS,
            "num_hidden_layers": 3,
            "partial_rotary_factor": 0.5,
            "attention_bias": True,
            "use_qk_norm": True,
            "moe_intermediate_size": 64,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 2,
            "routed_scaling_factor": 1.5,
            "first_k_dense_replace": 1,
        },
        dtype="BF16",
        special=_GLM_SPECIAL,
        template=_GLM_TEMPLATE,
    ),
    "mistral3": TinyFamily(
        "Mistral3ForConditionalGeneration",
        "mistral3",
        {
            "text_config": {**_BASE, **_WIDE_HEADS, "model_type": "mistral", "rms_norm_eps": 1e-5},
            "vision_config": {
                "model_type": "pixtral",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_attention_heads": 2,
                "head_dim": 16,
                "num_hidden_layers": 1,
                "image_size": 28,
                "patch_size": 14,
            },
            "tie_word_embeddings": False,
        },
        is_bare=True,
        dtype="BF16",
    ),
    "ministral3": TinyFamily(
        "Ministral3ForCausalLM",
        "ministral3",
        {
            **_WIDE_HEADS,
            "rope_theta": None,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 50000.0,
                "factor": 16.0,
                "original_max_position_embeddings": 16,  # so that the temperature changes within the test
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.1,
            },
            "rms_norm_eps": 1e-5,
        },
        dtype="BF16",
        transformers=5,
    ),
    "lfm2": TinyFamily(
        "Lfm2ForCausalLM",
        "lfm2",
        {
            "num_hidden_layers": 4,
            "intermediate_size": 96,
            "block_auto_adjust_ff_dim": True,
            "block_multiple_of": 32,
            "norm_eps": 1e-5,
            "full_attn_idxs": [1, 3],
            "tie_word_embeddings": True,
        },
        dtype="BF16",
    ),
    "lfm2-moe": TinyFamily(
        "Lfm2MoeForCausalLM",
        "lfm2_moe",
        {
            **_EXPERTS,
            "num_hidden_layers": 4,
            "num_dense_layers": 1,
            "norm_eps": 1e-5,
            "conv_L_cache": 3,
            "use_expert_bias": True,
            "norm_topk_prob": True,
            "routed_scaling_factor": 1.0,
            "layer_types": ["conv", "full_attention", "conv", "full_attention"],
            "tie_word_embeddings": True,
        },
        dtype="BF16",
        transformers=5,
    ),
    "granite4": _granite4({"num_local_experts": 4, "shared_intermediate_size": 64}),
    "granite4-dense-hybrid": _granite4(
        {"num_local_experts": 0, "shared_intermediate_size": 64},
        reference_fails=True,  # its file does not load: it states another width than the tensors'
    ),
    "granite4-moe": _granite4(GRANITE4_MOE),
    "granite3-moe": TinyFamily("GraniteMoeForCausalLM", "granitemoe", GRANITE3_MOE, dtype="BF16"),
    "granite3-moe-shared": TinyFamily(
        "GraniteMoeSharedForCausalLM",
        "granitemoeshared",
        GRANITE3_MOE | {"shared_intermediate_size": 64},
        dtype="F16",
    ),
    "deepseek2": TinyFamily("DeepseekV2ForCausalLM", "deepseek_v2", DEEPSEEK2, dtype="BF16", transformers=5),
    "deepseek2-lite": TinyFamily(
        "DeepseekV2ForCausalLM", "deepseek_v2", DEEPSEEK2_LITE, dtype="F16", transformers=5
    ),
    "deepseek3": TinyFamily("DeepseekV3ForCausalLM", "deepseek_v3", DEEPSEEK3, dtype="BF16", transformers=5),
    "mamba2": TinyFamily("Mamba2ForCausalLM", "mamba2", MAMBA2, is_bare=True, transformers=5),
    "mamba2-codestral": TinyFamily(
        "Mamba2ForCausalLM", "mamba2", CODESTRAL, is_bare=True, sentencepiece=True, transformers=5
    ),
    "granite4-dense": _granite4(
        {
            "num_local_experts": 0,
            "num_experts_per_tok": 0,
            "num_hidden_layers": 2,
            "layer_types": ["attention", "attention"],
            "position_embedding_type": "rope",
            "shared_intermediate_size": 96,
        }
    ),
    "qwen3.5": TinyFamily("Qwen3_5ForCausalLM", "qwen3_5_text", _QWEN35, dtype="BF16", **_SINCE_5),
    "qwen3.5-moe": TinyFamily(
        "Qwen3_5MoeForCausalLM",
        "qwen3_5_moe_text",
        {**_QWEN35, **_EXPERTS, "shared_expert_intermediate_size": 96, "intermediate_size": None},
        dtype="BF16",
        **_SINCE_5,
    ),
    "qwen3-next": TinyFamily(
        "Qwen3NextForCausalLM",
        "qwen3_next",
        {
            **_QWEN35,
            **_EXPERTS,
            "rope_theta": 50000.0,
            "rope_parameters": None,
            "partial_rotary_factor": 0.25,
            "shared_expert_intermediate_size": 96,
        },
        dtype="BF16",
        norm_offset=0.0,
    ),
    "qwen3-vl-moe": TinyFamily(
        "Qwen3VLMoeForConditionalGeneration",
        "qwen3_vl_moe",
        {
            "text_config": {
                **_BASE,
                **_WIDE_HEADS,
                **_EXPERTS,
                "model_type": "qwen3_vl_moe_text",
                "moe_intermediate_size": 32,  # so that gate and up projections are square together
                "num_hidden_layers": 3,
                "rope_scaling": {"rope_type": "default", "mrope_section": [6, 5, 5]},
            },
            "vision_config": _DEEP_VISION,
            "tie_word_embeddings": False,
        },
        is_bare=True,
        dtype="BF16",
    ),
    "gpt-oss": TinyFamily(
        "GptOssForCausalLM",
        "gpt_oss",
        {
            **_WIDE_HEADS,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_scaling": {**_YARN, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": True},
            "rms_norm_eps": 1e-5,
        },
        dtype="BF16",
    ),
    "llama4": TinyFamily(
        "Llama4ForCausalLM",
        "llama4_text",
        {
            **_WIDE_HEADS,
            "num_hidden_layers": 4,
            "intermediate_size": 64,
            "intermediate_size_mlp": 96,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "rope_scaling": LLAMA3_ROPE,
            "rms_norm_eps": 1e-5,
        },
        dtype="BF16",
    ),
    "stablelm": TinyFamily(
        "StableLmForCausalLM",
        "stablelm",
        {"rope_theta": 10000.0, "use_qkv_bias": True},
    ),
    "stablelm-norms": TinyFamily(
        "StableLmForCausalLM",
        "stablelm",
        {"rope_theta": 10000.0, "qk_layernorm": True},
        reference_fails=True,  # "Unprocessed norms": it returns where it should yield
    ),
    "gpt2": TinyFamily(
        "GPT2LMHeadModel",
        "gpt2",
        {"vocab_size": ROWS, "n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 512, "n_ctx": 512},
        is_bare=True,
    ),
    "gpt-neox": TinyFamily(
        "GPTNeoXForCausalLM",
        "gpt_neox",
        {
            "vocab_size": ROWS,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "rotary_pct": 0.5,
            "rotary_emb_base": 50000,
            "tie_word_embeddings": False,
        },
        is_bare=True,
    ),
}


def write_tiny_family(directory: Path, name: str) -> Path:
    """Write the checkpoint of one of FAMILIES; return `directory`."""
    family = FAMILIES[name]
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "config.json", family.full_config())
    (directory / "chat_template.jinja").write_bytes(family.template.encode())
    if family.sentencepiece:
        model = tiny_sentencepiece(adds_space=family.adds_space)
        (directory / "tokenizer.model").write_bytes(model)
        tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        end = {"content": "<|endoftext|>", "special": True}  # llama.cpp demands it of every Phi-3
        settings = {"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {"280": end}, **tokens}
        write_json(directory / "tokenizer_config.json", settings)
    elif family.pairs:
        write_json(directory / "tokenizer.json", tiny_pairs.tiny_pairs())
        write_json(directory / "tokenizer_config.json", tiny_pairs.tiny_settings())
    else:
        write_json(directory / "tokenizer.json", tiny_tokenizer.tiny_tokenizer(special=family.special))
        bos, eos = tiny_tokenizer.SPECIALS
        tokens = {"bos_token": bos, "eos_token": eos}
        settings = {"tokenizer_class": family.tokenizer_class, **tokens}
        write_json(directory / "tokenizer_config.json", settings)
    write_weights(directory, tiny_weights(name), TinyLlama(family.dtype))
    return directory


@cache
def shapes(name: str) -> dict[str, list[int]]:
    """Return the tensors of a family's checkpoint, as transformers names and shapes them."""
    content: dict[str, list[int]] = json.loads((SHAPES / f"{name}.json").read_text(encoding="ascii"))
    return content


def tiny_weights(name: str) -> Tensors:
    """Return seeded weights in float32; vectors that scale lie around 1, in Gemma around 0."""
    bits = np.random.PCG64(zlib.crc32(name.encode()))
    offset = np.float32(FAMILIES[name].norm_offset)
    return {
        tensor: draw_weights(bits, tuple(shape)) + (offset if _is_norm(tensor) else np.float32(0))
        for tensor, shape in shapes(name).items()
    }


def _is_norm(tensor: str) -> bool:
    if tensor.endswith(("layer_scalar", "router.scale", "per_expert_scale")):
        return True
    return tensor.endswith("weight") and any(part in tensor for part in ("norm", "ln_", ".norms."))
