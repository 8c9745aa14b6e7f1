"""Whether metadata values are of the types llama.cpp reads, and texts are texts.

llama.cpp reads names and texts up to their first zero byte: one behind it could hide what is checked here.
"""

from __future__ import annotations

import codecs

from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.header import ArrayValue, GGUFHeader
from localllm.gguf_file.window import shown

_U16, _U32, _I32 = ValueType.UINT16, ValueType.UINT32, ValueType.INT32
_F32, _BOOL, _TEXT, _ARRAY = ValueType.FLOAT32, ValueType.BOOL, ValueType.STRING, ValueType.ARRAY

_LONGEST_ARCHITECTURE = 64
_PIECE_BYTES = 1024 * 1024
_GENERAL: dict[str, ValueType] = {
    Key.ARCHITECTURE: _TEXT,
    Key.NAME: _TEXT,
    Key.SPLIT_NUMBER: _U16,
    Key.SPLIT_COUNT: _U16,
    Key.SPLIT_TENSORS: _I32,
    Key.TOKENIZER_MODEL: _TEXT,
    Key.TOKENIZER_PRE: _TEXT,
    Key.TOKENS: _ARRAY,
    Key.TOKEN_TYPES: _ARRAY,
    Key.MERGES: _ARRAY,
    Key.SCORES: _ARRAY,
    "tokenizer.ggml.add_bos_token": _BOOL,
    "tokenizer.ggml.add_eos_token": _BOOL,
    "tokenizer.ggml.add_sep_token": _BOOL,
    "tokenizer.ggml.add_space_prefix": _BOOL,
    **{
        f"tokenizer.ggml.{kind}_token_id": _U32
        for kind in ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")
    },
}
# under `{architecture}.`
_SPECIFIC: dict[str, ValueType] = {
    "context_length": _U32,
    "embedding_length": _U32,
    "block_count": _U32,
    "feed_forward_length": _U32,
    "nextn_predict_layers": _U32,
    "expert_count": _U32,
    "expert_used_count": _U32,
    "expert_group_count": _U32,
    "expert_group_used_count": _U32,
    "attention.head_count": _U32,
    "attention.head_count_kv": _U32,
    "attention.key_length": _U32,
    "attention.value_length": _U32,
    "attention.key_length_mla": _U32,
    "attention.kv_lora_rank": _U32,
    "attention.temperature_scale": _F32,
    "attention.temperature_length": _U32,
    "expert_gating_func": _U32,
    "attention.layer_norm_epsilon": _F32,
    "attention.layer_norm_rms_epsilon": _F32,
    "attention.causal": _BOOL,
    "pooling_type": _U32,
    "rope.dimension_count": _U32,
    "rope.freq_base": _F32,
    "rope.scaling.type": _TEXT,
    "rope.scaling.factor": _F32,
    "rope.scaling.original_context_length": _U32,
}
_MAY_DIFFER_BY_LAYER = (
    "feed_forward_length",
    "expert_used_count",
    "attention.head_count",
    "attention.head_count_kv",
)
_ITEMS: dict[str, tuple[ValueType, ...]] = {
    Key.TOKENS: (_TEXT,),
    Key.TOKEN_TYPES: (_I32,),
    Key.MERGES: (_TEXT,),
    Key.SCORES: (_F32, _I32),
}


def values_problem(header: GGUFHeader) -> str | None:
    """Return what is wrong with the type or text of a value."""
    if not header.architecture:
        return "it does not say which architecture it is (`general.architecture`)"
    if len(header.architecture) > _LONGEST_ARCHITECTURE:
        return f"it is of an unknown architecture (`{shown(header.architecture)}`)"
    return _wrong_text(header) or _wrong_type(header) or _wrong_items(header) or _wrong_length(header)


def _wrong_text(header: GGUFHeader) -> str | None:
    for key, value in header.encoded.items():
        text = value.raw_text
        problem = None if text is None else _text_problem(text)
        if problem:
            return f"metadata `{shown(key)}` {problem}"
    return None


def _text_problem(text: memoryview) -> str | None:
    """Look at a text in pieces: decoded, it may take four times the memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(text), _PIECE_BYTES):
        piece = bytes(text[start : start + _PIECE_BYTES])
        if b"\0" in piece:
            return "has a zero byte in it"
        try:
            decoder.decode(piece, final=start + _PIECE_BYTES >= len(text))
        except UnicodeDecodeError:
            return "is not valid UTF-8"
    return None


def _wrong_type(header: GGUFHeader) -> str | None:
    prefix = f"{header.architecture}."
    for key, expected in (*_GENERAL.items(), *((prefix + key, kind) for key, kind in _SPECIFIC.items())):
        value = header.encoded.get(key)
        if value is None or value.type is expected:
            continue
        if value.type is _ARRAY and key.removeprefix(prefix) in _MAY_DIFFER_BY_LAYER:
            continue
        return f"metadata `{shown(key)}` is of type {value.type.name} instead of {expected.name}"
    return None


def _wrong_items(header: GGUFHeader) -> str | None:
    for key, expected in _ITEMS.items():
        array = header.metadata.get(key)
        if isinstance(array, ArrayValue) and array.item_type not in expected:
            names = " or ".join(kind.name for kind in expected)
            return f"metadata `{key}` is a list of {array.item_type.name} instead of {names}"
    return None


def _wrong_length(header: GGUFHeader) -> str | None:
    """What differs by layer needs a number for each."""
    layers = header.architecture_integer("block_count")
    for suffix in _MAY_DIFFER_BY_LAYER:
        numbers = header.array(f"{header.architecture}.{suffix}")
        if numbers is None or layers is None:
            continue
        if numbers.item_type not in (_U32, _I32):
            return f"`{suffix}` is a list of {numbers.item_type.name}"
        if len(numbers) != layers:
            return f"`{suffix}` has {len(numbers)} numbers for {layers} layers"
    return None
