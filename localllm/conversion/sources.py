"""Makes the tensors of a checkpoint uniform, whoever saved it: one name, one shape, and where the rows lie.

The language model of a multimodal checkpoint loses its prefix. Tensors that hold two (the gate and up
projections of all experts) are cut in halves; tensors that hold one of many (an expert, the norm of a
head) are put together. Nothing is read: a source is a list of row ranges, to be read one after another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from localllm.checkpoint import Tensor
from localllm.conversion.config import EXPERT_COUNT, ModelConfig
from localllm.conversion.family import Family
from localllm.conversion.mtp import uniform_name
from localllm.errors import CheckpointError

_NUMBERED = re.compile(r"(?P<keep>(?:\.experts)?)(?:(?<=\.experts)|\.norms)\.(?P<number>\d+)(?=\.)")
# tensors of the vision and audio parts of multimodal checkpoints
OTHER_MODALITIES = re.compile(
    r"(^|\.)(vision_tower|vision_model|vision_encoder|visual|audio_tower|multi_modal_projector|mm_projector"
    r"|embed_vision|embed_audio)\."
)


def language_model(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of tensors that are not of another modality."""
    return (name for name in names if not OTHER_MODALITIES.search(name))


@dataclass(frozen=True)
class Rows:
    """`count` rows of a checkpoint tensor from row `first` on; a row is its last axis."""

    tensor: Tensor
    first: int
    count: int


@dataclass(frozen=True)
class SourceTensor:
    """A tensor under its uniform name; `shape` is in row-major order."""

    name: str
    shape: tuple[int, ...]
    parts: tuple[Rows, ...]


def source_tensors(
    tensors: Iterable[Tensor],
    family: Family,
    config: ModelConfig,
    companions: Mapping[str, Tensor] = MappingProxyType({}),
) -> Iterator[SourceTensor]:
    """Yield the language model's tensors in their own order, put together and cut apart.

    `companions` holds what a tensor may need to be understood, by name.

    Raise CheckpointError when one of several numbered parts is missing or has another shape.
    """
    numbered: dict[str, dict[int, Tensor]] = {}
    for tensor in tensors:
        name = re.sub(r"(^|(?<=\.))language_model\.", "", tensor.name).removeprefix(family.prefix)
        name = uniform_name(name, config)
        ending = next((ending for ending in family.views if name.endswith(ending)), None)
        if ending is not None:
            for new_ending, seen in family.views[ending](tensor, companions, config):
                yield from _split(name.removesuffix(ending) + new_ending, seen, family)
            continue
        match = _NUMBERED.search(name)
        if match:
            together = name[: match.start()] + match["keep"] + name[match.end() :]
            numbered.setdefault(together, {})[int(match["number"])] = tensor
            continue
        yield from _split(name, tensor, family)
    for name, parts in numbered.items():
        yield _stacked(_renamed(name, family), parts, config)


def _split(name: str, tensor: Tensor, family: Family) -> Iterator[SourceTensor]:
    """Yield a tensor, or the ones it holds."""
    ending = next((ending for ending in family.splits if name.endswith(ending)), "")
    endings = family.splits.get(ending, ("",))
    if len(endings) == 1:
        new_name = name.removesuffix(ending) + endings[0]
        yield SourceTensor(new_name, tensor.shape, (Rows(tensor, 0, tensor.rows),))
        return
    if len(tensor.shape) < 2 or tensor.shape[-2] % len(endings):
        raise CheckpointError(
            f"tensor `{tensor.name}` of shape {list(tensor.shape)} does not hold {len(endings)} tensors"
        )
    *outer, fused, columns = tensor.shape
    size = fused // len(endings)
    for index, new_ending in enumerate(endings):
        parts = tuple(Rows(tensor, first, size) for first in range(index * size, tensor.rows, fused))
        yield SourceTensor(name.removesuffix(ending) + new_ending, (*outer, size, columns), parts)


def _renamed(name: str, family: Family) -> str:
    """Return the name of a tensor that holds one, as its family wants it."""
    ending = next((ending for ending in family.splits if name.endswith(ending)), "")
    endings = family.splits.get(ending, ("",))
    return name.removesuffix(ending) + endings[0] if len(endings) == 1 else name


def _stacked(name: str, parts: dict[int, Tensor], config: ModelConfig) -> SourceTensor:
    """Put numbered tensors of one shape on a new first axis."""
    wanted = config.integer(*EXPERT_COUNT) if ".experts." in f"{name}." else max(parts) + 1
    absent = next((number for number in range(wanted) if number not in parts), None)
    if absent is not None or len(parts) != wanted:
        number = absent if absent is not None else max(parts)
        found = "is missing" if absent is not None else f"is one more than the {wanted} of config.json"
        raise CheckpointError(f"part {number} of `{name}` {found}")
    ordered = [parts[number] for number in range(wanted)]
    shape = ordered[0].shape
    if any(tensor.shape != shape for tensor in ordered):
        raise CheckpointError(f"the parts of `{name}` differ in shape")
    return SourceTensor(name, (wanted, *shape), tuple(Rows(tensor, 0, tensor.rows) for tensor in ordered))
