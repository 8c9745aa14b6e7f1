"""The handcrafted files of llama.cpp's tests/test-gguf.cpp, by their names, made again for our reader.

Each has random pairs and tensors, as there; other than there, tensors have data behind them unless the
data is what the case is about, for our reader looks whether it is there.
"""

from __future__ import annotations

import random
import struct

from localllm.gguf_file.format import SCALAR_FORMATS, TENSOR_TYPES, ValueType
from tests.gguf_file.raw import (
    HUGE,
    alignment_pair,
    array_pair,
    gguf_bytes,
    pair,
    raw_string,
    tensor,
    text_pair,
)

F32, I8, I64 = 0, 24, 27
UNKNOWN_VALUE_TYPE, UNKNOWN_TENSOR_TYPE = len(ValueType), 43

# what our reader says to each; None: it is accepted, as by ggml
CASES: dict[str, str | None] = {
    "HEADER_BAD_MAGIC": "not a GGUF file",
    "HEADER_BAD_VERSION_0": "version 0 is not supported",
    "HEADER_BAD_VERSION_1": "version 1 is not supported",
    "HEADER_BAD_VERSION_FUTURE": "version 4 is not supported",
    "HEADER_BAD_N_TENSORS": f"claims to hold {HUGE} tensors",
    "HEADER_BAD_N_KV": f"claims to hold {HUGE} metadata pairs",
    "HEADER_EMPTY": None,
    "KV_BAD_KEY_SIZE": f"a metadata key is {HUGE} bytes long",
    "KV_EMPTY_KEY": "a metadata key is empty",
    "KV_BAD_TYPE": "`my_key_0` has unknown type 13",
    "KV_BAD_VALUE_SIZE": f"value of `my_key` is {HUGE} bytes long",
    "KV_DUPLICATE_KEY": "metadata key `my_key_0` appears twice",
    "KV_BAD_ALIGN": "`general.alignment` is 13, not a power of two",
    "KV_WRONG_TYPE_ALIGN": "`general.alignment` is not an unsigned number",
    "KV_RANDOM_KV": None,
    "TENSORS_BAD_NAME_SIZE": "a tensor name is 8[0-9] bytes long, more than 63",
    "TENSORS_BAD_N_DIMS": "`my_tensor_0` has 5 dimensions",
    "TENSORS_BAD_SHAPE": "`my_tensor_0` has an impossible shape",
    "TENSORS_ZERO_DIM": None,
    "TENSORS_NE_TOO_BIG": "`my_tensor_0` has an impossible shape",
    "TENSORS_NBYTES_TOO_BIG": "`my_tensor_0` claims [0-9]{20} bytes",
    "TENSORS_NBYTES_PAD_WRAP": f"`my_tensor_0` claims {2**64 - 16} bytes",
    "TENSORS_BAD_TYPE": "`my_tensor_0` has unknown type 43",
    "TENSORS_BAD_OFFSET": f"`my_tensor_0` is at offset {HUGE} instead of 0",
    "TENSORS_DUPLICATE_NAME": "tensor `my_tensor` appears twice",
    "TENSORS_BAD_ALIGN": "`general.alignment` is 13, not a power of two",
    "TENSORS_INCONSISTENT_ALIGN": "`my_tensor_[0-9]+` is at offset [0-9]+ instead of [0-9]+",
    "TENSORS_SUCCESS": None,
    "TENSORS_CUSTOM_ALIGN": None,
    "DATA_NOT_ENOUGH_DATA": "truncated: tensor `my_tensor_[0-9]+` ends at byte",
    "DATA_BAD_ALIGN": "`general.alignment` is 13, not a power of two",
    "DATA_INCONSISTENT_ALIGN": "`my_tensor_[0-9]+` is at offset [0-9]+ instead of [0-9]+",
    "DATA_MEM_SIZE_OVERFLOW": "truncated: tensor `my_tensor_0` ends at byte",
    "DATA_SUCCESS": None,
    "DATA_CUSTOM_ALIGN": None,
}
_PREAMBLES = {
    "HEADER_BAD_MAGIC": {"magic": b"FUGG"},
    "HEADER_BAD_VERSION_0": {"version": 0},
    "HEADER_BAD_VERSION_1": {"version": 1},
    "HEADER_BAD_VERSION_FUTURE": {"version": 4},
    "HEADER_BAD_N_TENSORS": {"tensor_count": HUGE},
    "HEADER_BAD_N_KV": {"pair_count": HUGE},
    "HEADER_EMPTY": {},
}
_BIG_SHAPES = {
    "TENSORS_BAD_SHAPE": (F32, (-1,)),
    "TENSORS_NE_TOO_BIG": (F32, (4 * (2**31 - 1),) * 2),
    "TENSORS_NBYTES_TOO_BIG": (I64, (1_533_916_897,) * 2),
    "TENSORS_NBYTES_PAD_WRAP": (F32, (4, 2**30 - 1, 2**30 + 1)),
    "DATA_MEM_SIZE_OVERFLOW": (I8, (2**63 - 64,)),
}


def handcrafted(name: str, seed: int) -> bytes:
    """Return the bytes of a case of CASES."""
    if name in _PREAMBLES:
        return gguf_bytes(**_PREAMBLES[name])  # type: ignore[arg-type]
    generator = random.Random(seed)
    pairs = [*_pairs(name, generator), *_alignment(name)]
    if name.startswith("KV_"):
        return gguf_bytes(pairs, alignment=1, data_bytes=64)
    padding = 1 if name.endswith(("CUSTOM_ALIGN", "INCONSISTENT_ALIGN")) else 32
    tensors, end = _tensors(name, generator, padding)
    data_bytes = 32 if name in _BIG_SHAPES else end - (name == "DATA_NOT_ENOUGH_DATA")
    return gguf_bytes(pairs, tensors, alignment=padding, data_bytes=data_bytes)


def _pairs(name: str, generator: random.Random) -> list[bytes]:
    if name == "KV_BAD_VALUE_SIZE":
        return [pair(b"my_key", ValueType.STRING, raw_string(b"", HUGE))]
    kinds = [generator.choice(list(ValueType)) for _ in range(100)]
    return [_pair(name, b"my_key_%d" % index, kind, generator) for index, kind in enumerate(kinds)]


def _pair(name: str, key: bytes, kind: ValueType, generator: random.Random) -> bytes:
    data = bytes(generator.randrange(256) | 1 for _ in range(64))
    if name == "KV_EMPTY_KEY":
        key = b""
    elif name == "KV_DUPLICATE_KEY":
        key = b"my_key_%d" % (int(key.rpartition(b"_")[2]) // 2)
    elif name == "KV_BAD_KEY_SIZE":
        return raw_string(key, HUGE)
    elif name == "KV_BAD_TYPE":
        return pair(key, UNKNOWN_VALUE_TYPE, data[:1])
    if kind is ValueType.STRING:
        return text_pair(key, data[: generator.randrange(64)])
    if kind is not ValueType.ARRAY:
        return pair(key, kind, data[: SCALAR_FORMATS[kind][1]])
    item = generator.choice([other for other in ValueType if other is not ValueType.ARRAY])
    if item is ValueType.STRING:
        texts = [raw_string(data[start : start + generator.randrange(5)]) for start in range(0, 64, 4)]
        return array_pair(key, item, len(texts), b"".join(texts))
    size = SCALAR_FORMATS[item][1]
    count = generator.randrange(64) // size
    return array_pair(key, item, count, data[: count * size])


def _alignment(name: str) -> list[bytes]:
    if name == "KV_WRONG_TYPE_ALIGN":
        return [pair(b"general.alignment", ValueType.INT32, struct.pack("<i", 13))]
    if name.endswith("BAD_ALIGN"):
        return [alignment_pair(13)]
    return [alignment_pair(1)] if name.endswith("CUSTOM_ALIGN") else []


def _tensors(name: str, generator: random.Random, padding: int) -> tuple[list[bytes], int]:
    """Return the entries, and where the last one's data ends."""
    kinds = [generator.choice(list(TENSOR_TYPES.values())) for _ in range(60)]
    shapes = [
        (
            generator.randint(1, 10) * kind.block_size,
            *(generator.randint(1, 10) for _ in range(generator.randrange(4))),
        )
        for kind in kinds
    ]
    if name in _BIG_SHAPES:
        kinds = [TENSOR_TYPES[_BIG_SHAPES[name][0]]] * 2
        shapes = [_BIG_SHAPES[name][1]] * 2
    entries, offset, end = [], 0, 0
    for index, (kind, shape) in enumerate(zip(kinds, shapes, strict=True)):
        if name == "TENSORS_ZERO_DIM":
            shape = (shape[0], 0)
        entries.append(_tensor(name, index, kind.id, shape, offset))
        size = kind.block_bytes * (shape[0] // kind.block_size)
        for rows in shape[1:]:
            size *= rows
        end = offset + size
        offset = end + -end % padding
    return entries, end


def _tensor(name: str, index: int, kind: int, shape: tuple[int, ...], offset: int) -> bytes:
    title = b"my_tensor" if name == "TENSORS_DUPLICATE_NAME" else b"my_tensor_%d" % index
    if name == "TENSORS_BAD_NAME_SIZE":
        title += b"_with_a_very_long_name_which_is_longer_than_what_is_allowed_for_ggml_tensors"
    if name == "TENSORS_BAD_N_DIMS":
        shape = (shape[0], 1, 1, 1, 1)
    if name == "TENSORS_BAD_TYPE":
        kind = UNKNOWN_TENSOR_TYPE
    return tensor(title, shape, kind, -1 if name == "TENSORS_BAD_OFFSET" else offset)
