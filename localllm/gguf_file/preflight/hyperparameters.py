"""Whether the numbers that describe a model can be those of one: layers, sizes, experts, attention."""

from __future__ import annotations

import math

from localllm.gguf_file.header import GGUFHeader
from localllm.gguf_file.preflight.architectures import NEED_EXPERTS, UNIFORM
from localllm.gguf_file.preflight.attention import attention_problem
from localllm.gguf_file.preflight.latent import latent_problem
from localllm.gguf_file.preflight.numbers import MAX_LAYERS, MAX_SIZE, by_layer, number

_MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
_MAX_GATE = 4  # LLAMA_EXPERT_GATING_FUNC_TYPE_SQRT_SOFTPLUS
_REQUIRED = ("block_count", "context_length", "embedding_length")
_EPSILONS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")


def hyperparameter_problem(header: GGUFHeader) -> str | None:
    """Return what is wrong with the numbers under `{architecture}.`, whose types are right."""
    return (
        _missing(header)
        or _sizes(header)
        or attention_problem(header)
        or latent_problem(header)
        or _epsilon(header)
        or _experts(header)
    )


def _missing(header: GGUFHeader) -> str | None:
    """A file without tensors is a vocabulary and needs none of it; without any key it is another problem."""
    described = any(key.startswith(f"{header.architecture}.") for key in header.encoded)
    for suffix in _REQUIRED if header.tensors and described else ():
        if header.architecture_integer(suffix) is None:
            return f"it lacks `{header.architecture}.{suffix}`"
    is_known = header.architecture in UNIFORM and header.tensors
    if is_known and all(number(header, suffix) is None for suffix in _EPSILONS):
        return f"it lacks `{header.architecture}.{_EPSILONS[0]}`"
    return None


def _sizes(header: GGUFHeader) -> str | None:
    layers = header.architecture_integer("block_count")
    if layers is not None and not 1 <= layers <= MAX_LAYERS:
        return f"it claims to have {layers} layers"
    context = header.architecture_integer("context_length")
    if context is not None and not 1 <= context <= MAX_SIZE:
        return f"it claims a context of {context} tokens"
    width = header.architecture_integer("embedding_length")
    if width is not None and not 1 <= width <= MAX_SIZE:
        return f"it claims to be {width} wide"
    predicted = header.architecture_integer("nextn_predict_layers")
    if predicted is not None and layers is not None and predicted > layers:
        return f"it claims {predicted} prediction layers of {layers}"
    return None


def _epsilon(header: GGUFHeader) -> str | None:
    for suffix in _EPSILONS:
        value = number(header, suffix)
        if value is not None and not (math.isfinite(value) and value >= 0):
            return f"`{suffix}` is {value}"
    return None


def _experts(header: GGUFHeader) -> str | None:
    total = header.architecture_integer("expert_count") or 0
    used = max(by_layer(header, "expert_used_count"), default=0)
    if total > _MAX_EXPERTS or used > total or (total > 0 and used == 0):
        return f"it claims to use {used} of {total} experts"
    if total == 0 and header.architecture in NEED_EXPERTS:
        return f"it has no experts, which {header.architecture} models need"
    gate = header.architecture_integer("expert_gating_func") or 0
    if total and not 0 <= gate <= _MAX_GATE:
        return f"it asks for unknown way {gate} to choose experts"
    return _expert_groups(header, total)


def _expert_groups(header: GGUFHeader, experts: int) -> str | None:
    groups = header.architecture_integer("expert_group_count") or 0
    used = header.architecture_integer("expert_group_used_count") or 0
    if groups == 0 or (groups == 1 and experts > 1):
        return None
    if groups >= experts or experts % groups or not 0 < used < groups:
        return f"it claims to use {used} of {groups} groups of {experts} experts"
    return None
