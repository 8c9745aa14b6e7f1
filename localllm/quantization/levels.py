"""The quantization levels: llama.cpp's file types, groups of them, and how users type them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from localllm.errors import UnknownLevelError, UsageError
from localllm.gguf_file.format import FILE_TYPES, TENSOR_TYPES_BY_NAME, TensorType


@dataclass(frozen=True)
class Level:
    """A quantization level: llama.cpp's number for it and the type most tensors get."""

    name: str
    file_type: int
    base_type: TensorType

    @property
    def bits_per_weight(self) -> float:
        """Return the bits per weight of the base type; files need somewhat more."""
        return self.base_type.bits_per_weight

    @property
    def is_quantized(self) -> bool:
        """Tell whether weights share scales in blocks, unlike those of F32, F16 and BF16."""
        return self.base_type.block_size > 1


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
_NOT_TARGETS = {"NVFP4"}  # a file type that llama.cpp reads but does not write
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}

LEVELS: dict[str, Level] = {
    name: Level(name, code, TENSOR_TYPES_BY_NAME[_BASE_TYPES.get(name, name)])
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


def parse_levels(texts: Iterable[str]) -> list[Level]:
    """Read levels as users type them: any case, comma lists, groups; duplicates once, in order.

    Raise UnknownLevelError with the nearest names, UsageError for none at all.
    """
    names: dict[str, None] = {}
    for text in texts:
        for word in filter(None, (part.strip().upper() for part in text.split(","))):
            names.update(dict.fromkeys(GROUPS.get(word) or (_ALIASES.get(word, word),)))
    if not names:
        raise UsageError("no quantization level given", hint="for example `-q Q4_K_M` or `-q recommended`")
    return [_level(name) for name in names]


def _level(name: str) -> Level:
    if name in LEVELS:
        return LEVELS[name]
    near = difflib.get_close_matches(name, [*LEVELS, *GROUPS], n=3, cutoff=0.5)
    known = [group.lower() if group in GROUPS else group for group in near]
    hint = f"did you mean {', '.join(known)}?" if known else "for example Q4_K_M, Q8_0, recommended or all"
    raise UnknownLevelError(f"`{name}` is not a quantization level", hint=hint)
