"""How the weights are stored: types by their share, the level, and how many weights there are and work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader, TensorInfo
from localllm.gguf_file.format import FILE_TYPES, Key
from localllm.memory.numbers import MAX_LAYERS, per_layer, whole

_LOOKED_UP = (
    "per_layer_token_embd.weight"  # of which a token takes one row, and nothing else needs the others
)
_EXPERTS = "_exps."  # in the name of a tensor that stacks the matrices of all experts


@dataclass(frozen=True)
class TypeShare:
    """How many tensors, weights and bytes are stored in one type."""

    type: str
    tensors: int
    parameters: int
    size_bytes: int


def level_of(header: GGUFHeader) -> str:
    """Return the level a file is labelled with, or an empty text."""
    code = header.integer(Key.FILE_TYPE)
    return "" if code is None else FILE_TYPES.get(code, f"file type {code}")


def type_shares(stored: Iterable[tuple[str, int, int]]) -> tuple[TypeShare, ...]:
    """Add up (type, parameters, bytes) of all tensors, the type with the most bytes first."""
    sums: dict[str, tuple[int, int, int]] = {}
    for kind, parameters, size in stored:
        tensors, so_far, bytes_so_far = sums.get(kind, (0, 0, 0))
        sums[kind] = (tensors + 1, so_far + parameters, bytes_so_far + size)
    shares = (TypeShare(kind, *sum_) for kind, sum_ in sums.items())
    return tuple(sorted(shares, key=lambda share: (-share.size_bytes, share.type)))


def stored_tensors(tensors: Iterable[TensorInfo]) -> Iterable[tuple[str, int, int]]:
    """Return (type, parameters, bytes) of each tensor."""
    return ((tensor.type.name, tensor.parameters, tensor.size_bytes) for tensor in tensors)


def active_parameters(header: GGUFHeader) -> int | None:
    """Return how many weights work on one token; None when all of them do or nothing tells.

    Of the matrices of the experts it is the share that a layer uses, of the inputs of all layers one row, of
    layers that predict further tokens nothing: an answer does not need them.
    """
    tensors = _asked_tensors(header)
    idle = _idle_experts(header, tensors)
    inputs = next((tensor for tensor in tensors if tensor.name == _LOOKED_UP), None)
    if idle is None and inputs is None and len(tensors) == len(header.tensors):
        return None
    rows = inputs.parameters - inputs.shape[0] if inputs else 0
    return sum(tensor.parameters for tensor in tensors) - (idle or 0) - rows


def _asked_tensors(header: GGUFHeader) -> list[TensorInfo]:
    """Return the tensors that every token goes through, or some of whose parts."""
    predicting = whole(header, "nextn_predict_layers")
    own = (header.architecture_integer("block_count") or MAX_LAYERS) - predicting
    return [tensor for tensor in header.tensors if not predicting or _layer(tensor.name) < max(own, 1)]


def _idle_experts(header: GGUFHeader, tensors: Iterable[TensorInfo]) -> int | None:
    """Return how many weights of experts do not work on a token; None when nothing tells."""
    count = header.architecture_integer("expert_count")
    used = per_layer(header, "expert_used_count", MAX_LAYERS)
    stacked = [tensor for tensor in tensors if _EXPERTS in tensor.name]
    if not count or count < 1 or not used or not stacked:
        return None
    idle = 0
    for tensor in stacked:
        working = min(max(used[_layer(tensor.name)], 0), count)
        idle += tensor.parameters * (count - working) // count
    return idle


def _layer(name: str) -> int:
    number = name.split(".", 2)[1] if name.startswith("blk.") else ""
    return int(number) if number.isascii() and number.isdigit() and int(number) < MAX_LAYERS else 0
