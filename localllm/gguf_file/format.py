"""The constants of the GGUF format: value types, tensor types and their block layout, file types.

Plain data without imports, so that reading a header costs neither numpy nor the `gguf` package.
Source: ggml/include/gguf.h, ggml/include/ggml.h and include/llama.h of llama.cpp; a test holds the
tensor types against `gguf.GGML_QUANT_SIZES`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple

MAGIC = b"GGUF"
SUPPORTED_VERSIONS = (2, 3)
WRITTEN_VERSION = 3
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1024 * 1024
MAX_DIMENSIONS = 4
MAX_KEY_BYTES = 1024  # the specification allows 65,535; real ones have less than a hundred
MAX_NAME_BYTES = 63  # GGML_MAX_NAME is 64 with the terminating zero


def is_alignment(value: int) -> bool:
    """Tell whether tensors can be aligned to `value` bytes: a power of two up to MAX_ALIGNMENT."""
    return 0 < value <= MAX_ALIGNMENT and value & (value - 1) == 0


class ValueType(IntEnum):
    """The type code in front of every metadata value."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


# struct format character and size in bytes of the fixed-size value types (little endian)
SCALAR_FORMATS: dict[ValueType, tuple[str, int]] = {
    ValueType.UINT8: ("B", 1),
    ValueType.INT8: ("b", 1),
    ValueType.UINT16: ("H", 2),
    ValueType.INT16: ("h", 2),
    ValueType.UINT32: ("I", 4),
    ValueType.INT32: ("i", 4),
    ValueType.FLOAT32: ("f", 4),
    ValueType.BOOL: ("?", 1),
    ValueType.UINT64: ("Q", 8),
    ValueType.INT64: ("q", 8),
    ValueType.FLOAT64: ("d", 8),
}


class TensorType(NamedTuple):
    """A ggml storage type: `block_size` weights share `block_bytes` bytes."""

    id: int
    name: str
    block_size: int
    block_bytes: int

    def row_bytes(self, columns: int) -> int:
        """Return the bytes of one row of `columns` weights; `columns` is a multiple of the block."""
        return columns // self.block_size * self.block_bytes

    @property
    def bits_per_weight(self) -> float:
        return self.block_bytes * 8 / self.block_size


TENSOR_TYPES: dict[int, TensorType] = {
    row[0]: TensorType(*row)
    for row in (
        (0, "F32", 1, 4),
        (1, "F16", 1, 2),
        (2, "Q4_0", 32, 18),
        (3, "Q4_1", 32, 20),
        (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24),
        (8, "Q8_0", 32, 34),
        (9, "Q8_1", 32, 36),
        (10, "Q2_K", 256, 84),
        (11, "Q3_K", 256, 110),
        (12, "Q4_K", 256, 144),
        (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210),
        (15, "Q8_K", 256, 292),
        (16, "IQ2_XXS", 256, 66),
        (17, "IQ2_XS", 256, 74),
        (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50),
        (20, "IQ4_NL", 32, 18),
        (21, "IQ3_S", 256, 110),
        (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136),
        (24, "I8", 1, 1),
        (25, "I16", 1, 2),
        (26, "I32", 1, 4),
        (27, "I64", 1, 8),
        (28, "F64", 1, 8),
        (29, "IQ1_M", 256, 56),
        (30, "BF16", 1, 2),
        (34, "TQ1_0", 256, 54),
        (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17),
        (40, "NVFP4", 64, 36),
        (41, "Q1_0", 128, 18),
        (42, "Q2_0", 64, 18),
    )
}
TENSOR_TYPES_BY_NAME: dict[str, TensorType] = {kind.name: kind for kind in TENSOR_TYPES.values()}

# What `general.file_type` says (enum llama_ftype); the label only, the tensors tell the truth.
FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}


class Key(StrEnum):
    """Metadata keys used in more than one module. Architecture keys are written `{arch}.suffix`."""

    ALIGNMENT = "general.alignment"
    ARCHITECTURE = "general.architecture"
    FILE_TYPE = "general.file_type"
    NAME = "general.name"
    QUANTIZATION_VERSION = "general.quantization_version"
    TYPE = "general.type"
    SPLIT_NUMBER = "split.no"  # from 0
    SPLIT_COUNT = "split.count"
    SPLIT_TENSORS = "split.tensors.count"
    CHAT_TEMPLATE = "tokenizer.chat_template"
    TOKENIZER_MODEL = "tokenizer.ggml.model"
    TOKENIZER_PRE = "tokenizer.ggml.pre"
    TOKENS = "tokenizer.ggml.tokens"
    TOKEN_TYPES = "tokenizer.ggml.token_type"
    MERGES = "tokenizer.ggml.merges"
    SCORES = "tokenizer.ggml.scores"
