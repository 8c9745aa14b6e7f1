"""Attention in chunks with every fourth layer without positions: what the runtime takes for granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.conversion.config import ModelConfig

_WITHOUT_NORMS = 128  # experts of Maverick, whose queries and keys the runtime does not normalise


def kinds(config: ModelConfig) -> Mapping[str, Sequence[int]]:
    """Return the layers that are mixtures of experts, every so many, and the dense ones."""
    step = max(1, config.integer("interleave_moe_layer_step"))
    mixtures = range(step - 1, config.layers, step)
    return {"mixture": mixtures, "dense": [layer for layer in range(config.layers) if layer not in mixtures]}


def check(config: ModelConfig) -> None:
    """The runtime has these numbers of its own; configurations may give them in either way."""
    rotates = [int((layer + 1) % 4 != 0) for layer in range(config.layers)]
    types = ["chunked_attention" if rotated else "full_attention" for rotated in rotates]
    config.require(
        attention_chunk_size=8192,
        no_rope_layer_interval=4,
        no_rope_layers=rotates if config.get("no_rope_layers") else None,
        layer_types=types,
        moe_layers=list(kinds(config)["mixture"]),
        attn_temperature_tuning=True,
        floor_scale=8192,
        attn_scale=0.1,
        use_qk_norm=config.integer("num_local_experts") != _WITHOUT_NORMS,
    )
