"""Decides, before a byte is written, which tensors the GGUF file will hold and in which type.

Every checkpoint tensor is mapped to a GGUF name or dropped for a stated reason; anything else is an
error. The order in the file is: computed tensors, then the checkpoint's own order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import gguf

from localllm.checkpoint import FLOAT_DTYPES, HEADS, Checkpoint, Tensor, token_embedding
from localllm.conversion import mtp
from localllm.conversion.config import ModelConfig, text_config
from localllm.conversion.family import ComputedTensor, Family
from localllm.conversion.mxfp4_views import MXFP4
from localllm.conversion.ops import Op
from localllm.conversion.out_type import OutType
from localllm.conversion.sources import OTHER_MODALITIES, Rows, SourceTensor, source_tensors
from localllm.errors import CheckpointError, UnsupportedModelError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, TensorType
from localllm.gguf_file.writer import TensorEntry

EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"
# of what is copied from checkpoints as it is, whatever type was asked for
_BLOCK_TYPES = {MXFP4: TENSOR_TYPES_BY_NAME[MXFP4]}
_PIECE_WEIGHTS = 4 * 1024 * 1024
_CONFIG_HINT = "is config.json the one that belongs to these weights?"
_QUANTIZED_HINT = "config.json names no quantization method; was its quantization_config lost?"
_LEFTOVERS = re.compile(r"(\.base_layer\.|\.lora_[AB]\.|lora_magnitude_vector)")
# tensors that stay F32 although they have two dimensions (facts of the reference converter)
_ALWAYS_F32 = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_inp_shexp.weight",
    "position_embd.weight",
    "ssm_conv1d.weight",
    "shortconv.conv.weight",
)


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of the output and how to make it: the rows of `parts` one after another, or computed."""

    entry: TensorEntry
    parts: tuple[Rows, ...] = ()
    op: Op | None = None
    computed: ComputedTensor | None = None

    @property
    def label(self) -> str:
        """What to call the source in an error message."""
        return self.parts[0].tensor.name if self.parts else self.entry.name


@dataclass(frozen=True)
class ConversionPlan:
    """The tensors to write, the type most of them get, and what was left out and why."""

    tensors: tuple[PlannedTensor, ...]
    out_type: TensorType
    vocabulary_rows: int
    dropped: tuple[tuple[str, str], ...]

    @property
    def file_type(self) -> str:
        """Return what `general.file_type` calls the mixture of types."""
        has_blocks = any(tensor.entry.type.name == MXFP4 for tensor in self.tensors)
        return "MXFP4_MOE" if has_blocks and self.out_type.block_size == 1 else self.out_type.name

    @property
    def parameters(self) -> int:
        """Return the number of weights; a tied embedding that is written twice counts once."""
        return sum(math.prod(tensor.entry.shape) for tensor in self._distinct())

    @property
    def size_label(self) -> str:
        """Return the size as names have it: `7.2B`, with experts `8x7B` (the shared part and one expert)."""
        experts = [tensor.entry.shape for tensor in self._distinct() if _is_mixture(tensor.entry)]
        total, all_experts = self.parameters, sum(map(math.prod, experts))
        one_each = sum(math.prod(shape[:-1]) for shape in experts)
        count = experts[0][-1] if experts else 0
        return gguf.size_label(total, total - all_experts, one_each, count)

    def _distinct(self) -> Iterator[PlannedTensor]:
        seen: set[tuple[Rows, ...]] = set()
        for tensor in self.tensors:
            if not tensor.parts or tensor.parts not in seen:
                seen.add(tensor.parts)
                yield tensor


def _is_mixture(entry: TensorEntry) -> bool:
    """Tell whether a tensor holds a matrix for each expert; biases count among what all tokens use."""
    return "_exps." in entry.name and len(entry.shape) > 2


def plan_conversion(
    checkpoint: Checkpoint, family: Family, config: ModelConfig, out_type: OutType, emit: Emit = ignore
) -> ConversionPlan:
    """Plan the conversion of `checkpoint`; what is left out or doubtful is told.

    Raise CheckpointError for a tensor that has no place in the architecture, one that is missing or
    of another shape than config.json says, and leftovers of an unfinished merge;
    UnsupportedModelError for weights that are not floating point.
    """
    _refuse_integers(checkpoint, family)
    chosen = choose_type(checkpoint, out_type)
    dropped: list[tuple[str, str]] = []
    f32 = TENSOR_TYPES_BY_NAME["F32"]
    planned = [
        PlannedTensor(TensorEntry(t.name, (len(t.values),), f32), computed=t) for t in family.computed(config)
    ]
    for name, source in _mapped(checkpoint, family, config, dropped):
        op = next((op for ending, op in family.ops.items() if source.name.endswith(ending)), None)
        shape = tuple(reversed(op.shape_of(source.shape, config) if op else source.shape))
        kept = _BLOCK_TYPES.get(source.parts[0].tensor.dtype)
        entry = TensorEntry(name, shape, kept or _type_of(name, shape, chosen))
        planned.append(PlannedTensor(entry, source.parts, op))
    _compare_head(planned, checkpoint, emit)
    if not family.output_optional:
        planned += _tied_output(planned)
    rows = _vocabulary_rows(planned, checkpoint, config)
    _require_shapes(planned, family, ModelConfig({**config.values, "vocab_size": rows}))
    for tensor, reason in dropped:
        emit(Notice(f"left out `{tensor}`: {reason}", topic="left-out", fixed=tensor.endswith(HEADS)))
    return ConversionPlan(tuple(planned), chosen, rows, tuple(dropped))


def _mapped(
    checkpoint: Checkpoint, family: Family, config: ModelConfig, dropped: list[tuple[str, str]]
) -> Iterator[tuple[str, SourceTensor]]:
    """Yield (GGUF name, source) for every tensor that is not dropped."""
    names = gguf.get_tensor_name_map(model_arch(family.arch), config.blocks)
    kept = _kept(checkpoint, family, config, dropped)
    for source in source_tensors(kept, family, config, checkpoint.tensors):
        if source.name.endswith(HEADS) and _is_copy_of_embedding(source.parts[0].tensor, checkpoint, family):
            dropped.append((source.name, "identical to the token embedding, which llama.cpp uses instead"))
            continue
        name = mtp.tensor_name(source.name) or names.get_name(
            source.name, try_suffixes=(".weight", ".bias", ".scale")
        )
        if name is None:
            raise CheckpointError(
                f"tensor `{source.name}` has no place in architecture {family.arch}",
                hint=_CONFIG_HINT,
            )
        yield name, source


def _kept(
    checkpoint: Checkpoint, family: Family, config: ModelConfig, dropped: list[tuple[str, str]]
) -> Iterator[Tensor]:
    """Yield the tensors of the language model that are not recomputed at run time."""
    others = [name for name in checkpoint.tensors if OTHER_MODALITIES.search(name)]
    if others:
        dropped.append((others[0], f"one of {len(others)} tensors that are not of the language model"))
    ahead = [name for name in checkpoint.tensors if _is_not_kept(name, family, config)]
    if ahead:
        hint = "; `--keep-mtp` keeps them" if mtp.keeps_layers(family) else ""
        dropped.append(
            (ahead[0], f"one of {len(ahead)} tensors that predict further tokens, for speculation{hint}")
        )
    left_out = {*others, *ahead}
    for tensor in checkpoint.tensors.values():
        if tensor.name in left_out:
            continue
        if tensor.name.endswith(family.drop):
            dropped.append((tensor.name, "recomputed at run time"))
        elif _LEFTOVERS.search(tensor.name):
            raise CheckpointError(
                f"`{tensor.name}` is left over from an unfinished merge",
                hint="merge with PEFT's merge_and_unload(), or save the adapter alone for `localllm merge`",
            )
        else:
            yield tensor


def _is_not_kept(name: str, family: Family, config: ModelConfig) -> bool:
    """Tell whether a tensor is of a layer for multi-token prediction that nobody asked for."""
    return family.predicts_ahead and not config.mtp_layers and mtp.predicts_ahead(name, config)


def _compare_head(planned: Sequence[PlannedTensor], checkpoint: Checkpoint, emit: Emit) -> None:
    """Hold the output head against what config.json says of it; a copy of the embedding is gone by now."""
    has_head = any(tensor.entry.name == OUTPUT for tensor in planned)
    has_copy = any(name.endswith(HEADS) for name in checkpoint.tensors)
    nested = text_config(checkpoint.config)
    is_tied = nested.get("tie_word_embeddings") if nested else checkpoint.config.get("tie_word_embeddings")
    if is_tied is False and not has_head and not has_copy:
        raise CheckpointError(
            "config.json says the output head is not tied to the embedding, but the weights have none",
            hint="save the model again with its head, or say `tie_word_embeddings: true` if it was tied",
        )
    if is_tied and has_head:
        emit(
            Notice(
                "config.json ties the output head to the embedding, but the weights hold another: it is kept",
                hint="if the model was trained tied, remove the head from the weights and convert again",
                topic="output-head",
            )
        )


def _tied_output(planned: Sequence[PlannedTensor]) -> list[PlannedTensor]:
    """Write the token embedding again as the output where llama.cpp demands one."""
    if any(tensor.entry.name == OUTPUT for tensor in planned):
        return []
    return [
        replace(tensor, entry=replace(tensor.entry, name=OUTPUT))
        for tensor in planned
        if tensor.entry.name == EMBEDDING
    ]


def model_arch(arch: str) -> gguf.MODEL_ARCH:
    """Return the gguf package's constant for an architecture."""
    return next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)


def _is_copy_of_embedding(head: Tensor, checkpoint: Checkpoint, family: Family) -> bool:
    """Tell whether an output head repeats the token embedding byte for byte (a tied model saved twice)."""
    if not family.output_optional or not checkpoint.config.get("tie_word_embeddings"):
        return False
    embedding = token_embedding(checkpoint.tensors)
    if embedding is None or (embedding.dtype, embedding.shape) != (head.dtype, head.shape):
        return False
    pairs = zip(embedding.read_pieces(_PIECE_WEIGHTS), head.read_pieces(_PIECE_WEIGHTS), strict=True)
    return all(first.tobytes() == second.tobytes() for first, second in pairs)


def choose_type(checkpoint: Checkpoint, out_type: OutType) -> TensorType:
    """Resolve `auto`: the type of the first matrix; F16 when that is neither BF16 nor F16."""
    if out_type is not OutType.AUTO:
        return TENSOR_TYPES_BY_NAME[out_type.value.upper()]
    matrices = (tensor.native_dtype for tensor in checkpoint.tensors.values() if len(tensor.shape) >= 2)
    first = next((dtype for dtype in matrices if dtype in ("BF16", "F16")), "F16")
    return TENSOR_TYPES_BY_NAME[first]


def _type_of(name: str, shape: Sequence[int], chosen: TensorType) -> TensorType:
    """Return the storage type of one tensor: vectors, norms and biases stay F32."""
    if len(shape) < 2 or name.endswith(_ALWAYS_F32) or not name.endswith(".weight"):
        return TENSOR_TYPES_BY_NAME["F32"]
    if shape[0] % chosen.block_size:
        return TENSOR_TYPES_BY_NAME["F16"]
    return chosen


def _require_shapes(planned: Sequence[PlannedTensor], family: Family, config: ModelConfig) -> None:
    """Hold the weights against config.json: llama.cpp would refuse the file after all the work."""
    found = {tensor.entry.name: tensor.entry.shape for tensor in planned}
    mtp.require_whole(found, family, config)
    for name, shape in family.expected(config):
        _require_shape(name, found, shape)


def _require_shape(name: str, found: Mapping[str, tuple[int, ...]], expected: tuple[int, ...]) -> None:
    shape = found.get(name)
    if shape is None:
        raise CheckpointError(
            f"the weights lack tensor `{name}`, which config.json asks for", hint=_CONFIG_HINT
        )
    if shape != expected:
        raise CheckpointError(
            f"tensor `{name}` has shape {list(shape)}, but config.json makes it {list(expected)}",
            hint=_CONFIG_HINT,
        )


def _vocabulary_rows(planned: Sequence[PlannedTensor], checkpoint: Checkpoint, config: ModelConfig) -> int:
    """Return how many tokens the embedding has; an output head must have as many."""
    found = {tensor.entry.name: tensor.entry.shape for tensor in planned}
    if EMBEDDING not in found:
        raise CheckpointError(f"{checkpoint.directory} has no token embedding (model.embed_tokens.weight)")
    rows = found[EMBEDDING][-1]
    for name in (EMBEDDING, OUTPUT):
        if name in found:
            _require_shape(name, found, (config.integer("hidden_size", "n_embd"), rows))
    return rows


def _refuse_integers(checkpoint: Checkpoint, family: Family) -> None:
    """Refuse what is not floating point, no method in config.json explains and the family has no view of."""
    for tensor in checkpoint.tensors.values():
        if not tensor.name.endswith(tuple(family.views)) and tensor.dtype not in FLOAT_DTYPES:
            raise UnsupportedModelError(
                f"tensor `{tensor.name}` has type {tensor.dtype}, not floating point", hint=_QUANTIZED_HINT
            )
