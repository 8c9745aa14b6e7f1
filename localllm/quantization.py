"""The quantization levels and making files at them, one or many in one go."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm.errors import QuantizationError, UnknownLevelError, UsageError
from localllm.events import Emit, Finished, Notice, Started, ignore
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import FILE_TYPES, TENSOR_TYPES_BY_NAME
from localllm.gguf_file.preflight import require_loadable
from localllm.machine import usable_cores
from localllm.native.quantize import quantize_file
from localllm.publication import publishing, require_distinct, require_space, translated_errors


@dataclass(frozen=True)
class Level:
    """A quantization level: llama.cpp's number for it and the type most tensors get."""

    name: str
    file_type: int
    base_type: str
    needs_importance_matrix: bool = False

    @property
    def bits_per_weight(self) -> float:
        """Return the bits per weight of the base type; files need somewhat more."""
        return TENSOR_TYPES_BY_NAME[self.base_type].bits_per_weight


# Where the base type is not called like the level (llama.cpp, llama_ftype_get_default_type).
_BASE_TYPES = {
    "Q2_K_S": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "IQ3_XS": "IQ3_S",
    "IQ3_M": "IQ3_S",
    "MXFP4_MOE": "MXFP4",
}
_NEEDS_MATRIX = {"Q2_K_S", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS"}
_NOT_TARGETS = {"NVFP4", "Q1_0", "Q2_0"}
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

LEVELS: dict[str, Level] = {
    name: Level(name, code, _BASE_TYPES.get(name, name), name in _NEEDS_MATRIX)
    for code, name in FILE_TYPES.items()
    if name not in _NOT_TARGETS
}
GROUPS: dict[str, tuple[str, ...]] = {
    "ALL": (
        "Q2_K",
        "Q3_K_S",
        "Q3_K_M",
        "Q3_K_L",
        "Q4_0",
        "Q4_K_S",
        "Q4_K_M",
        "Q5_0",
        "Q5_K_S",
        "Q5_K_M",
        "Q6_K",
        "Q8_0",
    ),
    "RECOMMENDED": ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"),
}
_UNQUANTIZED = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class QuantizationResult:
    """One file made: `types` counts tensors per storage type, `fallbacks` those that did not fit theirs."""

    level: str
    path: Path
    size_bytes: int
    bits_per_weight: float
    types: dict[str, int]
    fallbacks: int


def parse_levels(texts: Iterable[str]) -> list[Level]:
    """Read levels as users type them: any case, comma lists, groups; duplicates once, in order.

    Raise UnknownLevelError with the nearest names, UsageError for none at all or a level that needs
    an importance matrix.
    """
    names: dict[str, None] = {}
    for text in texts:
        for word in filter(None, (part.strip().upper() for part in text.split(","))):
            names.update(dict.fromkeys(GROUPS.get(word) or (_ALIASES.get(word, word),)))
    if not names:
        raise UsageError("no quantization level given", hint="for example `-q Q4_K_M` or `-q recommended`")
    levels = [_level(name) for name in names]
    for level in levels:
        if level.needs_importance_matrix:
            raise UsageError(
                f"{level.name} needs an importance matrix, which this version cannot make yet",
                hint="choose Q2_K, the smallest level that works without one",
            )
    return levels


def quantize(
    source: Path,
    targets: Sequence[tuple[Level, Path]],
    *,
    threads: int | None = None,
    emit: Emit = ignore,
) -> list[QuantizationResult]:
    """Quantize the GGUF file `source` to every (level, path) of `targets`.

    `threads` defaults to all usable cores. Each file appears under its name only when it is complete
    and has been re-read. Raise InvalidGGUFError, QuantizationError, SameFileError or StorageError;
    files finished before stay.
    """
    header = read_header(source)
    require_loadable(header, str(source))
    _require_quantizable(header, source)
    threads = threads or usable_cores()
    return [_quantize_one(source, header, level, path, threads, emit) for level, path in targets]


def describe_types(header: GGUFHeader) -> dict[str, int]:
    """Count the tensors per storage type, the most common first."""
    counts: dict[str, int] = {}
    for tensor in header.tensors:
        counts[tensor.type.name] = counts.get(tensor.type.name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def count_misfits(header: GGUFHeader) -> int:
    """Count the matrices whose rows do not fit the block of the file's level, so another type holds them."""
    level = LEVELS.get(FILE_TYPES.get(header.integer("general.file_type") or 0, ""))
    if level is None or level.name in _UNQUANTIZED:
        return 0
    block = TENSOR_TYPES_BY_NAME[level.base_type].block_size
    matrices = (t for t in header.tensors if len(t.shape) > 1 and t.type.name != "F32")
    return sum(1 for tensor in matrices if tensor.shape[0] % block)


def bits_per_weight(header: GGUFHeader) -> float:
    """Return the stored bits per parameter, padding and header excluded."""
    return header.tensor_bytes * 8 / max(1, header.parameters)


def _level(name: str) -> Level:
    if name in LEVELS:
        return LEVELS[name]
    near = difflib.get_close_matches(name, [*LEVELS, *GROUPS], n=3, cutoff=0.5)
    known = [group.lower() if group in GROUPS else group for group in near]
    hint = f"did you mean {', '.join(known)}?" if known else "for example Q4_K_M, Q8_0, recommended or all"
    raise UnknownLevelError(f"`{name}` is not a quantization level", hint=hint)


def _require_quantizable(header: GGUFHeader, source: Path) -> None:
    if not header.tensors:
        raise QuantizationError(f"{source} holds no tensors, only a vocabulary")
    quantized = next((t for t in header.tensors if t.type.name not in _UNQUANTIZED), None)
    if quantized is not None:
        raise QuantizationError(
            f"{source} is already quantized (`{quantized.name}` is {quantized.type.name})",
            hint="quantize the F16, BF16 or F32 file, or the checkpoint; quantizing twice loses quality",
        )


def _quantize_one(
    source: Path, header: GGUFHeader, level: Level, target: Path, threads: int, emit: Emit
) -> QuantizationResult:
    require_distinct(source, target)
    with translated_errors(target):
        require_space(target, _least_bytes(header, level))
    step = f"quantize {level.name}"
    emit(Started(step, len(header.tensors), "tensors"))
    with publishing(target) as part:
        fallbacks = quantize_file(
            source,
            part,
            file_type=level.file_type,
            threads=threads,
            source_alignment=header.alignment,
            step=step,
            emit=emit,
        )
        made = read_header(part)
        require_loadable(made, target.name)
        size = part.stat().st_size
    emit(Finished(step))
    result = QuantizationResult(
        level.name, target, size, bits_per_weight(made), describe_types(made), fallbacks
    )
    if result.fallbacks:
        emit(_fallback_notice(result, level))
    return result


def _least_bytes(header: GGUFHeader, level: Level) -> int:
    """Return a lower bound of the file's size: every matrix at the level's base type."""
    return int(sum(t.parameters for t in header.tensors) * level.bits_per_weight / 8)


def _fallback_notice(result: QuantizationResult, level: Level) -> Notice:
    tensors = "1 tensor does" if result.fallbacks == 1 else f"{result.fallbacks} tensors do"
    return Notice(
        f"{level.name}: {tensors} not fit the block of the wanted type and got another: "
        f"{level.bits_per_weight:.2f} bits per weight became {result.bits_per_weight:.2f}"
    )
