"""The families localllm converts: one small table per file, found by walking this package.

Each file ends with its families, `FAMILIES`. They are taken in the order of the files' names; where two
share an architecture, `matches` tells them apart, never the order.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from localllm.conversion.family import Family
from localllm.errors import UnsupportedModelError


def _tables() -> Iterator[Family]:
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        yield from import_module(f"{__name__}.{name}").FAMILIES


FAMILIES: tuple[Family, ...] = tuple(_tables())


_PROGRAMS = {
    "Gemma3nForCausalLM": "Gemma 3n",
    "Gemma3nForConditionalGeneration": "Gemma 3n",
    "FalconH1ForCausalLM": "Falcon-H1",
    "Glm4MoeLiteForCausalLM": "GLM-4.7-Flash",
    "GlmMoeDsaForCausalLM": "GLM-5",
    "DeepseekV32ForCausalLM": "DeepSeek-V3.2",
    "DeepseekV4ForCausalLM": "DeepSeek-V4",
}
_DRAFTS = ("Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM")


# entries of config.json that only another package writes: which, and what makes transformers' form of it
_OTHER_FORMS = {
    "ssm_cfg": (
        "mamba_ssm",
        "convert the checkpoint with transformers' convert_mamba2_ssm_checkpoint_to_pytorch.py",
    ),
}


def family_of(architecture: str, config: Mapping[str, Any] = MappingProxyType({})) -> Family:
    """Return the family of a config.json and its architecture. Raise UnsupportedModelError for others."""
    for sign, (package, way) in _OTHER_FORMS.items():
        if sign in config:
            raise UnsupportedModelError(
                f"config.json is that of the {package} package, not of transformers", hint=way
            )
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
    if architecture in _DRAFTS:
        raise UnsupportedModelError(
            f"`{architecture}` is a draft model, which runs only beside another one",
            hint="convert the model that it speeds up, which needs none to answer",
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
