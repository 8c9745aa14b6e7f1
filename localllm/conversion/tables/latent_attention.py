"""Multi-head latent attention: keys and values are unfolded from one compressed vector of each token.

llama.cpp does not unfold them. It stores the compressed vector with the rotated part as the one key of each
token, takes the way into keys to the queries and the way out of values to the result, head by head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from localllm.conversion.config import ModelConfig
from localllm.conversion.family import Shapes
from localllm.conversion.keys import (
    COMMON_KEYS,
    VOCABULARY_SIZE_KEY,
    ModelKey,
    required,
    rope_scaling,
    without,
)
from localllm.conversion.views import View, keys_and_values
from localllm.errors import UnsupportedModelError
from localllm.gguf_file.format import ValueType
from localllm.gguf_file.writer import TypedValue, float32

# what llama.cpp takes for models without compressed queries, whatever the file says
_DIRECT_LAYERS = (26, 27)
_DIRECT_LAYERS_AND_ROWS = (48, 128256)


def _latent(config: ModelConfig) -> int:
    return config.integer("kv_lora_rank")


def _rotated(config: ModelConfig) -> int:
    return config.integer("qk_rope_head_dim")


def _plain(config: ModelConfig) -> int:
    return config.integer("qk_nope_head_dim")


def _value(config: ModelConfig) -> int:
    return config.integer("v_head_dim")


def _query(config: ModelConfig) -> int:
    return config.heads * (_plain(config) + _rotated(config))


def _query_rank(config: ModelConfig) -> int | None:
    """Return into how many numbers queries are compressed; None where they are not."""
    return None if config.get("q_lora_rank") is None else config.positive("q_lora_rank")


KEYS: tuple[ModelKey, ...] = (
    *without(COMMON_KEYS, "attention.head_count_kv"),
    VOCABULARY_SIZE_KEY,
    ModelKey("attention.head_count_kv", ValueType.UINT32, lambda _: 1),
    ModelKey("attention.key_length", ValueType.UINT32, lambda c: _latent(c) + _rotated(c)),
    ModelKey("attention.value_length", ValueType.UINT32, _latent),
    ModelKey("attention.key_length_mla", ValueType.UINT32, lambda c: _plain(c) + _rotated(c)),
    ModelKey("attention.value_length_mla", ValueType.UINT32, _value),
    required("attention.kv_lora_rank", "kv_lora_rank"),
    ModelKey("attention.q_lora_rank", ValueType.UINT32, _query_rank),
    ModelKey("rope.dimension_count", ValueType.UINT32, _rotated),
)
VIEWS: Mapping[str, View] = {
    "self_attn.kv_b_proj.weight": keys_and_values(
        "self_attn.k_b_proj.weight", "self_attn.v_b_proj.weight", _plain, _value
    )
}
# multiplied without the adapter that there may be
UNADAPTED = ("attn_q", "attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_k_b", "attn_v_b", "output")
SHAPES: Shapes = {
    "blk.{layer}.attn_norm.weight": lambda c: (c.hidden,),
    "blk.{layer}.ffn_norm.weight": lambda c: (c.hidden,),
    "blk.{layer}.attn_kv_a_mqa.weight": lambda c: (c.hidden, _latent(c) + _rotated(c)),
    "blk.{layer}.attn_kv_a_norm.weight": lambda c: (_latent(c),),
    "blk.{layer}.attn_k_b.weight": lambda c: (_plain(c), _latent(c), c.heads),
    "blk.{layer}.attn_v_b.weight": lambda c: (_latent(c), _value(c), c.heads),
    "blk.{layer}.attn_output.weight": lambda c: (c.heads * _value(c), c.hidden),
    "blk.{layer}.attn_q.weight": lambda c: None if _query_rank(c) else (c.hidden, _query(c)),
    "blk.{layer}.attn_q_a.weight": lambda c: (c.hidden, rank) if (rank := _query_rank(c)) else None,
    "blk.{layer}.attn_q_a_norm.weight": lambda c: (rank,) if (rank := _query_rank(c)) else None,
    "blk.{layer}.attn_q_b.weight": lambda c: (rank, _query(c)) if (rank := _query_rank(c)) else None,
}


def scaling(config: ModelConfig) -> Iterator[tuple[str, TypedValue]]:
    """Yield the keys of YaRN. Its multiplier is kept in tenths for this architecture, by an old mistake."""
    yield from rope_scaling(config)
    if config.rope.get("mscale_all_dim") is not None:
        yield "rope.scaling.yarn_log_multiplier", float32(0.1 * config.rope["mscale_all_dim"])


def check(config: ModelConfig) -> None:
    """Refuse what the runtime would compute otherwise."""
    config.require(attention_bias=False, mlp_bias=False, hidden_act="silu", rope_interleave=True)
    config.require(moe_layer_freq=1, num_key_value_heads=config.heads)
    _check_scaling(config)
    size = config.layers, config.get("vocab_size")
    is_direct = config.layers in _DIRECT_LAYERS or size == _DIRECT_LAYERS_AND_ROWS
    if is_direct != (_query_rank(config) is None):
        raise UnsupportedModelError(
            f"config.json: q_lora_rank is {config.get('q_lora_rank')!r:.20}, but llama.cpp takes DeepSeek "
            f"models of {config.layers} layers for those {'without' if is_direct else 'with'} one"
        )


def _check_scaling(config: ModelConfig) -> None:
    """The runtime sharpens attention as YaRN does where `mscale` and `mscale_all_dim` are the same."""
    rope = config.rope
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "yarn"):
        raise UnsupportedModelError(f"rope scaling of type `{kind!s:.40}` is not supported for DeepSeek")
    scales = rope.get("mscale"), rope.get("mscale_all_dim")
    if kind == "yarn" and (scales[0] != scales[1] or None in scales or rope.get("attention_factor")):
        raise UnsupportedModelError(
            f"config.json: mscale is {scales[0]!r:.20}, mscale_all_dim {scales[1]!r:.20}, "
            "but llama.cpp would compute with two that are the same"
        )
