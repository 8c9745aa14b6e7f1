"""Granite 3 and, without Mamba layers, Granite 4 as mixtures of experts, with a shared expert or not."""

from __future__ import annotations

from dataclasses import replace

from localllm.conversion.families.granite import GRANITE
from localllm.conversion.families.granite4_dense import GRANITE4_DENSE
from localllm.conversion.keys import EXPERT_KEYS
from localllm.conversion.tables import granite_blocks, shapes, state_space

GRANITE3_MOE = replace(
    GRANITE,
    name="Granite 3 (mixture of experts)",
    architectures=("GraniteMoeForCausalLM",),
    arch="granitemoe",
    keys=(*GRANITE.keys, *EXPERT_KEYS),
    defaults=GRANITE.defaults | {"num_local_experts": 8, "num_experts_per_tok": 2},
    splits=granite_blocks.EXPERTS,
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | shapes.experts("intermediate_size") | shapes.OUTPUT_NORM,
)

GRANITE3_MOE_SHARED = replace(
    GRANITE3_MOE,
    name="Granite 3 (mixture of experts beside a shared one)",
    architectures=("GraniteMoeSharedForCausalLM",),
    keys=(*GRANITE3_MOE.keys, granite_blocks.SHARED_WIDTH_KEY),
    defaults=GRANITE3_MOE.defaults | {granite_blocks.SHARED_WIDTH: 0},
    splits=granite_blocks.BESIDE_SHARED,
    shapes=shapes.NORMS_BEFORE | shapes.ATTENTION | granite_blocks.SHAPES_BESIDE_SHARED | shapes.OUTPUT_NORM,
)

GRANITE4_MOE = replace(
    GRANITE3_MOE_SHARED,
    name="Granite 4 (attention alone, mixture of experts)",
    architectures=("GraniteMoeHybridForCausalLM",),
    matches=lambda config: not state_space.is_hybrid(config) and not granite_blocks.is_dense(config),
    defaults=GRANITE3_MOE.defaults | {granite_blocks.SHARED_WIDTH: 1024},
    check=GRANITE4_DENSE.check,
)

FAMILIES = (GRANITE3_MOE, GRANITE3_MOE_SHARED, GRANITE4_MOE)
