"""Decides what a quantized file will be, to the last byte of its size, before any weight is read.

llama.cpp itself chooses the types, in a dry run on sparse copies of the headers (no vocabulary, no weights).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

from localllm.errors import InvalidGGUFError, NativeCrashError, QuantizationError
from localllm.gguf_file import GGUFHeader, TensorEntry, TensorInfo, read_header
from localllm.gguf_file.format import DEFAULT_ALIGNMENT, TENSOR_TYPES_BY_NAME
from localllm.gguf_file.preflight import require_loadable
from localllm.gguf_file.split_keys import split_metadata
from localllm.gguf_file.writer import HeaderValues, encode_header, header_bytes, layout
from localllm.native.dry_run import Decisions, Quantizer
from localllm.native.library import Device
from localllm.quantization.header import quantized_metadata
from localllm.quantization.levels import Level
from localllm.quantization.options import Override, QuantizationOptions
from localllm.quantization.pruning import names_after_pruning, require_prunable
from localllm.quantization.source import QuantizationSource
from localllm.quantization.sparse_files import sparse_files

EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
OUTPUT = "output.weight"
# types that without an importance matrix turn weights to noise (llama-quant.cpp, tensor_requires_imatrix)
_NEED_MATRIX = {"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"}


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the output, and the one of the source it is made from."""

    source: TensorInfo
    output: TensorInfo

    @property
    def is_changed(self) -> bool:
        return self.source.type != self.output.type


@dataclass(frozen=True)
class PlannedFile:
    """One file to write: its metadata, and its tensors in their order."""

    metadata: HeaderValues
    tensors: tuple[PlannedTensor, ...]

    @property
    def header(self) -> bytes:
        """Return everything in front of the data; with a large vocabulary that is megabytes."""
        return encode_header(self.metadata, [tensor.output for tensor in self.tensors])

    @cached_property
    def _header_bytes(self) -> int:
        return header_bytes(self.metadata, [tensor.output for tensor in self.tensors])

    @property
    def size_bytes(self) -> int:
        sizes = (tensor.output.size_bytes for tensor in self.tensors)
        return self._header_bytes + sum(size + -size % DEFAULT_ALIGNMENT for size in sizes)


@dataclass(frozen=True)
class LevelPlan:
    """The files of one level; `fallbacks` counts tensors that did not fit the type first chosen for them."""

    level: Level
    files: tuple[PlannedFile, ...]
    fallbacks: int

    @property
    def tensors(self) -> Iterator[PlannedTensor]:
        return (tensor for file in self.files for tensor in file.tensors)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.output.size_bytes for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Return the stored bits per parameter, padding and header excluded."""
        parameters = sum(tensor.output.parameters for tensor in self.tensors)
        return self.tensor_bytes * 8 / max(1, parameters)

    @property
    def needs_matrix(self) -> tuple[str, ...]:
        """Return the names of the source's tensors that only an importance matrix makes usable."""
        return tuple(
            tensor.source.name
            for tensor in self.tensors
            if tensor.is_changed and _needs_matrix(tensor.output, self.level)
        )


def plan_levels(
    source: QuantizationSource,
    levels: Sequence[Level],
    options: QuantizationOptions,
    *,
    has_matrix: bool = False,
    provenance: Sequence[Override] = (),
    quantizer: Quantizer | None = None,
) -> tuple[list[LevelPlan], list[Device]]:
    """Plan every one of `levels`; also return the devices llama.cpp could run the model on.

    With an importance matrix llama.cpp chooses some types differently; `provenance` is what the files say
    about it. `quantizer` may have been started before. Raise QuantizationError with llama.cpp's reason for a
    model it does not know or an impossible choice, UsageError for layers that are not there, and what
    completing the headers of `source` raises.
    """
    require_prunable(source.outlines[0], options.prune_layers)
    wishes = {**options.for_dry_run(), "has_matrix": has_matrix}
    if options.overrides:
        _require_sound(source.outlines[0], levels[0], options)
    started = Quantizer() if quantizer is None else nullcontext(quantizer)
    copies = [_without_vocabulary(header.encoded, header.tensors) for header in source.outlines]
    with started as asked, sparse_files(copies) as first:
        asked.begin(first, [level.file_type for level in levels], wishes)
        headers = source.headers  # the vocabulary takes as long: it is read meanwhile
        try:
            found = asked.result()
        except (QuantizationError, NativeCrashError) as error:
            if options.overrides:
                error.hint = f"look at {' and '.join(options.risks())}"
            raise
    plans = [
        _plan(source.label, headers, level, options, decisions, provenance)
        for level, decisions in zip(levels, found.decisions, strict=True)
    ]
    for plan in plans:
        _refuse_requantizing(plan, source, options)
    return plans, found.devices


def _plan(
    label: str,
    headers: Sequence[GGUFHeader],
    level: Level,
    options: QuantizationOptions,
    decisions: Decisions,
    provenance: Sequence[Override],
) -> LevelPlan:
    sources = {tensor.name: (number, tensor) for number, h in enumerate(headers) for tensor in h.tensors}
    old_names = names_after_pruning([tensor for _, tensor in sources.values()], options.prune_layers)
    if set(decisions.names) != set(old_names):
        raise QuantizationError(f"llama.cpp's quantizer leaves out tensors of {label}")
    chosen = [
        (
            *sources[old_names[name]],
            TensorEntry(name, sources[old_names[name]][1].shape, TENSOR_TYPES_BY_NAME[kind]),
        )
        for name, kind in zip(decisions.names, decisions.types, strict=True)
    ]
    _require_whole_blocks(entry for *_, entry in chosen)
    groups = [chosen]
    if options.keep_split:
        groups = [[item for item in chosen if item[0] == number] for number in range(len(headers))]
    layers = _layers_left(headers[0], options)
    metadata = quantized_metadata(headers[0], level, (*options.overrides, *provenance), layers)
    files = []
    for number, group in enumerate(groups):
        values: HeaderValues = metadata if number == 0 else {}
        if len(groups) > 1:
            values = {**values, **split_metadata(number, len(groups), len(chosen))}
        infos = layout(entry for *_, entry in group)
        pairs = zip((tensor for _, tensor, _ in group), infos, strict=True)
        files.append(PlannedFile(values, tuple(PlannedTensor(*pair) for pair in pairs)))
    return LevelPlan(level, tuple(files), decisions.fallbacks)


def _require_whole_blocks(entries: Iterable[TensorEntry]) -> None:
    """llama.cpp falls back to types that fit, but not from what is asked for by the name of a tensor."""
    for entry in entries:
        if entry.shape[0] % entry.type.block_size:
            raise QuantizationError(
                f"`{entry.name}` has rows of {entry.shape[0]}, which do not fit {entry.type.name}'s blocks "
                f"of {entry.type.block_size}",
                hint="choose another type for it, with blocks of 32: Q4_0, Q5_0, Q8_0, IQ4_NL",
            )


def _layers_left(source: GGUFHeader, options: QuantizationOptions) -> int | None:
    if not options.prune_layers:
        return None
    return (source.architecture_integer("block_count") or 0) - len(options.prune_layers)


def _needs_matrix(tensor: TensorInfo, level: Level) -> bool:
    if tensor.name in (*EMBEDDINGS, OUTPUT):
        return False
    return tensor.type.name in _NEED_MATRIX or (level.name == "Q2_K_S" and tensor.type.name == "Q2_K")


def _refuse_requantizing(plan: LevelPlan, source: QuantizationSource, options: QuantizationOptions) -> None:
    if options.allow_requantize:
        return
    twice = next((t for t in plan.tensors if t.is_changed and t.source.type.block_size > 1), None)
    if twice is not None:
        raise QuantizationError(
            f"{source.label} is already quantized (`{twice.source.name}` is {twice.source.type.name})",
            hint="quantize the F16, BF16 or F32 file, or the checkpoint; quantizing twice loses quality, and "
            "`--allow-requantize` does it all the same",
        )


def _require_sound(outline: GGUFHeader, level: Level, options: QuantizationOptions) -> None:
    """Raise QuantizationError for metadata that llama.cpp's quantizer would die of."""
    metadata = quantized_metadata(outline, level, options.overrides, None)
    with sparse_files([_without_vocabulary(metadata, outline.tensors)]) as path:
        try:
            require_loadable(read_header(path), "llama.cpp would not load the result")
        except InvalidGGUFError as error:
            raise QuantizationError(error.message, hint=f"look at {' and '.join(options.risks())}") from None


def _without_vocabulary(metadata: HeaderValues, tensors: Sequence[TensorInfo]) -> tuple[bytes, int]:
    """Return a header without the vocabulary, which the quantizer does not look at, and the file's size."""
    values = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
    encoded = encode_header(values, tensors)
    return encoded, len(encoded) + sum(tensor.offset + tensor.size_bytes for tensor in tensors[-1:])
