"""The feed-forward blocks of Granite 4: a mixture of experts beside a shared one, or the shared one alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.conversion.family import Shapes
from localllm.conversion.keys import ModelKey, required
from localllm.conversion.tables import shapes

SHARED_WIDTH = "shared_intermediate_size"
SHARED_WIDTH_KEY: ModelKey = required("expert_shared_feed_forward_length", SHARED_WIDTH)
SHARED_ALONE: Mapping[str, tuple[str, ...]] = {
    "shared_mlp.input_linear.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "shared_mlp.output_linear.weight": ("mlp.down_proj.weight",),
}
EXPERTS: Mapping[str, tuple[str, ...]] = {
    "block_sparse_moe.input_linear.weight": ("mlp.experts.gate_proj.weight", "mlp.experts.up_proj.weight"),
}
BESIDE_SHARED: Mapping[str, tuple[str, ...]] = {
    **EXPERTS,
    "shared_mlp.input_linear.weight": (
        "mlp.shared_mlp.gate_proj.weight",
        "mlp.shared_mlp.up_proj.weight",
    ),
}
SHAPES_BESIDE_SHARED: Shapes = shapes.experts("intermediate_size") | shapes.shared_expert(SHARED_WIDTH)


def is_dense(config: Mapping[str, Any]) -> bool:
    """Tell whether config.json asks for no experts; transformers takes eight when it does not say."""
    return not config.get("num_local_experts", 8)
