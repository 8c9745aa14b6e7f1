"""Tiny checkpoints with a layer for multi-token prediction, which transformers reads over and never saves.

The layer is one of the model's own with attention, seeded anew, and what joins it to the others.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

from tests.conversion.tiny_families import FAMILIES, shapes, tiny_weights, write_tiny_family
from tests.conversion.tiny_llama import ROWS, Tensors, TinyLlama, draw_weights, edit_json, write_weights

_HIDDEN = 64
_ATTENTION = re.compile(r"model\.layers\.(\d+)\.self_attn\.q_(?:a_)?proj\.weight")
_JOINTS = {"eh_proj.weight": (_HIDDEN, 2 * _HIDDEN), "enorm.weight": (_HIDDEN,), "hnorm.weight": (_HIDDEN,)}
_QWEN_JOINTS = {
    "fc.weight": (_HIDDEN, 2 * _HIDDEN),
    "pre_fc_norm_embedding.weight": (_HIDDEN,),
    "pre_fc_norm_hidden.weight": (_HIDDEN,),
    "norm.weight": (_HIDDEN,),
}
_GLM_JOINTS = {
    **_JOINTS,
    "embed_tokens.weight": (ROWS, _HIDDEN),
    "shared_head.norm.weight": (_HIDDEN,),
    "shared_head.head.weight": (ROWS, _HIDDEN),
}
# families, and whether their layer is `mtp.*` or one more behind the last
MTP: dict[str, bool] = {
    **dict.fromkeys(("qwen3.5", "qwen3.5-moe", "qwen3-next"), True),
    **dict.fromkeys(("glm4-moe", "deepseek3"), False),
}
REFERENCE_DROPS = ("deepseek3",)  # which llama.cpp loads all the same


def write_tiny_mtp(directory: Path, name: str) -> Path:
    """Write the checkpoint of a family in MTP with such a layer; return `directory`."""
    write_tiny_family(directory, name)
    family = FAMILIES[name]
    number = "mtp_num_hidden_layers" if MTP[name] else "num_nextn_predict_layers"
    edit_json(directory / "config.json", **{number: 1})
    write_weights(directory, {**tiny_weights(name), **mtp_weights(name)}, TinyLlama(family.dtype))
    return directory


def mtp_weights(name: str) -> Tensors:
    """Return the layer's weights in float32."""
    last = max(int(found[1]) for found in map(_ATTENTION.match, shapes(name)) if found)
    layers = FAMILIES[name].full_config()["num_hidden_layers"]
    own = f"model.layers.{last}."
    layer = {key.removeprefix(own): shape for key, shape in shapes(name).items() if key.startswith(own)}
    if MTP[name]:
        wanted = {f"mtp.{key}": shape for key, shape in _QWEN_JOINTS.items()}
        wanted |= {f"mtp.layers.0.{key}": tuple(shape) for key, shape in layer.items()}
    else:
        wanted = {
            f"model.layers.{layers}.{key}": tuple(shape) for key, shape in (layer | _GLM_JOINTS).items()
        }
    bits = np.random.PCG64(zlib.crc32(f"mtp {name}".encode()))
    offset = np.float32(FAMILIES[name].norm_offset)
    return {
        key: draw_weights(bits, shape) + (offset if "norm" in key else np.float32(0))
        for key, shape in wanted.items()
    }
