"""The families localllm converts: one small table per file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from localllm.conversion.families import (
    gemma,
    glm,
    gpt,
    gpt_oss,
    granite4,
    lfm2,
    llama,
    llama4,
    mistral3,
    olmo,
    phi,
    qwen,
    qwen35,
    qwen_vl,
    stablelm,
)
from localllm.conversion.family import Family
from localllm.errors import UnsupportedModelError

FAMILIES: tuple[Family, ...] = tuple(
    family
    for module in (
        llama,
        llama4,
        granite4,
        mistral3,
        qwen,
        qwen35,
        qwen_vl,
        gemma,
        phi,
        glm,
        lfm2,
        olmo,
        stablelm,
        gpt,
        gpt_oss,
    )
    for family in module.FAMILIES
)


_PROGRAMS = {
    "Gemma3nForCausalLM": "Gemma 3n",
    "Gemma3nForConditionalGeneration": "Gemma 3n",
    "FalconH1ForCausalLM": "Falcon-H1",
    "Glm4MoeLiteForCausalLM": "GLM-4.7-Flash",
    "GlmMoeDsaForCausalLM": "GLM-5",
}


def family_of(architecture: str, config: Mapping[str, Any] = MappingProxyType({})) -> Family:
    """Return the family of a config.json and its architecture. Raise UnsupportedModelError for others."""
    families = [family for family in FAMILIES if architecture in family.architectures]
    for family in families:
        if family.matches(config):
            return family
    if families:
        raise UnsupportedModelError(f"`{architecture}` is supported, but not with this config.json")
    if architecture in _PROGRAMS:
        raise UnsupportedModelError(
            f"{_PROGRAMS[architecture]} is not supported (`{architecture}`): parts of it are code of "
            "llama.cpp, not numbers that a file could hold"
        )
    known = [name for family in FAMILIES for name in family.architectures]
    near = difflib.get_close_matches(architecture, known, n=1)
    if not architecture:
        raise UnsupportedModelError(
            "config.json names no architecture", hint='it should say "architectures": ["LlamaForCausalLM"]'
        )
    raise UnsupportedModelError(
        f"architecture `{architecture}` is not supported",
        hint=f"did you mean {near[0]}?" if near else f"supported: {', '.join(known)}",
    )
