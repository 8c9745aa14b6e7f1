"""Layers for multi-token prediction, behind a model's last one: what they are called, how many there are.

Checkpoints hold them as `mtp.*` or as further layers. They propose tokens for speculation, the answers are
the same without them, so they are left out unless they are asked for. The weights say how many there are:
config.json goes on naming them where a fine-tune lost them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from localllm.conversion.config import ModelConfig, with_mtp_layers
from localllm.conversion.family import Family
from localllm.errors import CheckpointError, UnsupportedModelError

KIND = "{mtp}"  # of these layers, in `Family.shapes`
_OWN = re.compile(r"(?:^|\.)mtp\.(?:layers\.(?P<layer>\d+)\.)?(?P<rest>.+)$")
_FURTHER = re.compile(r"(?:^|\.)layers\.(?P<layer>\d+)\.")
# what joins the hidden state to the next token's embedding, by the names of checkpoints with `mtp.*`
_JOINTS = {
    "fc": "eh_proj",
    "norm": "shared_head.norm",
    "pre_fc_norm_embedding": "enorm",
    "pre_fc_norm_hidden": "hnorm",
}
_BLOCK = re.compile(r"blk\.(\d+)\.")
_NAMES = re.compile(
    r"(?:^|\.)layers\.(\d+)\.(eh_proj|enorm|hnorm|embed_tokens|shared_head\.norm|shared_head\.head)(\.\w+)$"
)
_LEAVE_OUT = "leave out `--keep-mtp`: the answers are the same"


def predicts_ahead(name: str, config: ModelConfig) -> bool:
    """Tell whether a tensor of a checkpoint belongs to such a layer."""
    further = _FURTHER.search(name)
    return bool(_OWN.search(name) or (further and int(further["layer"]) >= config.layers))


def uniform_name(name: str, config: ModelConfig) -> str:
    """Return the name of a tensor with its layer counted on from the last one."""
    found = _OWN.search(name)
    if found is None:
        return name
    part, dot, ending = found["rest"].rpartition(".")
    return f"model.layers.{config.layers + int(found['layer'] or 0)}.{_JOINTS.get(part, part)}{dot}{ending}"


def tensor_name(name: str) -> str | None:
    """Return the GGUF name of what joins such a layer to the model, which the gguf package lacks for some."""
    found = _NAMES.search(name)
    return found and f"blk.{found[1]}.nextn.{found[2].replace('.', '_')}{found[3]}"


def with_layers(config: ModelConfig, family: Family, names: Iterable[str]) -> ModelConfig:
    """Return the configuration of a model that keeps these layers, as many as the tensors `names` have.

    Raise UnsupportedModelError where llama.cpp has no use for them, CheckpointError where there are none.
    """
    if not keeps_layers(family):
        raise UnsupportedModelError(
            f"llama.cpp loads no layers for multi-token prediction of {family.name}", hint=_LEAVE_OUT
        )
    uniform = (uniform_name(name, config) for name in names if predicts_ahead(name, config))
    layers = [int(found["layer"]) for found in map(_FURTHER.search, uniform) if found]
    if not layers:
        raise CheckpointError(
            "the weights hold no layer for multi-token prediction; most fine-tuning drops them",
            hint=_LEAVE_OUT,
        )
    return with_mtp_layers(config, max(layers) + 1 - config.layers)


def require_whole(found: Container[str], family: Family, config: ModelConfig) -> None:
    """Raise CheckpointError where the GGUF names `found` lack a tensor of a layer that is kept."""
    for name, _ in family.expected(config):
        block = _BLOCK.match(name)
        if name not in found and block and int(block[1]) >= config.layers:
            raise CheckpointError(
                f"a layer for multi-token prediction is incomplete: the weights lack `{name}`",
                hint=_LEAVE_OUT,
            )


def keeps_layers(family: Family) -> bool:
    """Tell whether llama.cpp loads such layers of a family."""
    return any(KIND in name for name in family.shapes)
