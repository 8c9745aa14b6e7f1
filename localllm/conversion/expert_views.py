"""Views of all experts of a layer, of which the shapes alone tell whether matrices are turned.

transformers 4 holds the matrices of some mixtures with rows as columns, transformers 5 as everywhere else,
both under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from localllm.checkpoint import Tensor
from localllm.conversion.config import ModelConfig
from localllm.conversion.views import View, part, transposed
from localllm.errors import CheckpointError

_PAIR, _DOWN = "gate_up_proj", "down_proj"


def experts_either_way(experts: str) -> Mapping[str, View]:
    """View gate and up projections, one behind the other, and down projections, all turned or none."""

    def view(
        tensor: Tensor, tensors: Mapping[str, Tensor], config: ModelConfig
    ) -> Iterator[tuple[str, Tensor]]:
        rows = transposed(tensor) if _are_turned(tensor, tensors, config) else tensor
        if tensor.name.endswith(_DOWN):
            yield f"{experts}.down_proj.weight", rows
            return
        for number, kind in enumerate(("gate", "up")):
            yield f"{experts}.{kind}_proj.weight", part(rows, 2, number)

    return {f"{experts}.{_PAIR}": view, f"{experts}.{_DOWN}": view}


def _are_turned(tensor: Tensor, tensors: Mapping[str, Tensor], config: ModelConfig) -> bool:
    """Tell from a shape whether rows are columns; of square matrices, from that of their companions."""
    hidden, width = config.hidden, config.integer("moe_intermediate_size")
    plain = {_PAIR: (2 * width, hidden), _DOWN: (hidden, width)}
    layer = tensor.name.removesuffix(_PAIR).removesuffix(_DOWN)
    kinds = (_PAIR, _DOWN) if tensor.name.endswith(_PAIR) else (_DOWN, _PAIR)
    for kind in kinds:
        found = tensors.get(layer + kind)
        if found is not None and found.shape[-2:] == plain[kind] != plain[kind][::-1]:
            return False
        if found is not None and found.shape[-2:] == plain[kind][::-1] != plain[kind]:
            return True
    raise CheckpointError(
        f"tensor `{tensor.name}` of shape {list(tensor.shape)} holds no experts of {hidden} by {width}"
    )
