"""GPT-NeoX and Pythia: queries, keys and values fused head by head, layer norms, no gate."""

from __future__ import annotations

from localllm.conversion.family import Family
from localllm.conversion.keys import LAYER_NORM_KEYS, UNUSUAL_THETA_KEY, ModelKey, unscaled_rope
from localllm.conversion.ops import SPLIT_FUSED_HEADS
from localllm.conversion.tables import rotation, shapes
from localllm.gguf_file.format import ValueType

GPT_NEOX = Family(
    name="GPT-NeoX",
    architectures=("GPTNeoXForCausalLM",),
    arch="gptneox",
    keys=(
        *LAYER_NORM_KEYS,
        UNUSUAL_THETA_KEY,
        rotation.ROTARY_SIZE_KEY,
        ModelKey("use_parallel_residual", ValueType.BOOL, lambda c: bool(c.get("use_parallel_residual"))),
    ),
    defaults={
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25,
        "use_parallel_residual": True,
    },
    ops=dict.fromkeys(("query_key_value.weight", "query_key_value.bias"), SPLIT_FUSED_HEADS),
    scaling=unscaled_rope,
    output_optional=False,
    shapes=shapes.NORMS_BEFORE | shapes.FUSED_ATTENTION | shapes.FEED_FORWARD | shapes.OUTPUT_NORM,
)

FAMILIES = (GPT_NEOX,)
