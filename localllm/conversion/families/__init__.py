"""The families localllm converts: one small table per file."""

from __future__ import annotations

import difflib

from localllm.conversion.families import gemma, gpt, llama, olmo, phi, qwen, stablelm
from localllm.conversion.family import Family
from localllm.errors import UnsupportedModelError

FAMILIES: tuple[Family, ...] = tuple(
    family for module in (llama, qwen, gemma, phi, olmo, stablelm, gpt) for family in module.FAMILIES
)


def family_of(architecture: str) -> Family:
    """Return the family of a config.json architecture. Raise UnsupportedModelError for others."""
    for family in FAMILIES:
        if architecture in family.architectures:
            return family
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
