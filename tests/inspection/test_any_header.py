"""Whatever a header says, it is described: nothing is raised, and the description is JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.cli.inspection_view import show_description
from localllm.cli.output import Output
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array
from localllm.inspection import HeaderFile, describe_set, join_headers
from localllm.inspection.metadata import metadata_in
from tests.inspection.headers import model

ARCHITECTURES = (
    "llama",
    "gemma2",
    "gemma3n",
    "mamba",
    "jamba",
    "qwen3next",
    "falcon-h1",
    "clip",
    "alien",
    "",
)
KEYS = (
    Key.ARCHITECTURE,
    Key.NAME,
    Key.TYPE,
    Key.FILE_TYPE,
    Key.QUANTIZATION_VERSION,
    Key.CHAT_TEMPLATE,
    Key.TOKENS,
    Key.TOKENIZER_MODEL,
    Key.TOKENIZER_PRE,
    Key.SPLIT_NUMBER,
    Key.SPLIT_COUNT,
    Key.SPLIT_TENSORS,
    "tokenizer.chat_templates",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.add_bos_token",
    "general.base_model.count",
    "general.base_model.0.name",
    "general.tags",
    "general.languages",
    "general.sampling.temp",
    "adapter.type",
    "adapter.lora.alpha",
    "imatrix.datasets",
    "imatrix.chunk_count",
    "clip.vision.block_count",
    *(
        f"{{arch}}.{suffix}"
        for suffix in (
            "block_count",
            "context_length",
            "embedding_length",
            "feed_forward_length",
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.key_length_mla",
            "attention.sliding_window",
            "attention.sliding_window_pattern",
            "attention.shared_kv_layers",
            "attention.recurrent_layers",
            "nextn_predict_layers",
            "full_attention_interval",
            "expert_count",
            "expert_used_count",
            "expert_feed_forward_length",
            "rope.freq_base",
            "rope.scaling.type",
            "rope.scaling.factor",
            "ssm.conv_kernel",
            "ssm.inner_size",
            "wkv.head_size",
            "shortconv.l_cache",
        )
    ),
)
_INTEGERS = {
    ValueType.UINT8: (0, 2**8 - 1),
    ValueType.INT32: (-(2**31), 2**31 - 1),
    ValueType.UINT32: (0, 2**32 - 1),
    ValueType.INT64: (-(2**63), 2**63 - 1),
    ValueType.UINT64: (0, 2**64 - 1),
}
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["adapter", "imatrix", "mmproj", "yarn", "lora", "\x1b[2J", "a\nb", "{% for %}", "{{"]),
)


def _integers(kind: ValueType) -> st.SearchStrategy[int]:
    low, high = _INTEGERS[kind]
    return st.one_of(st.integers(low, high), st.integers(max(low, -2), 5))


def _values() -> st.SearchStrategy[TypedValue]:
    numbers = [_integers(kind).map(lambda n, kind=kind: TypedValue(kind, n)) for kind in _INTEGERS]
    lists = [
        st.lists(_integers(kind), max_size=6).map(lambda n, kind=kind: array(kind, n)) for kind in _INTEGERS
    ]
    return st.one_of(
        *numbers,
        *lists,
        st.floats(width=32).map(lambda n: TypedValue(ValueType.FLOAT32, n)),
        st.floats().map(lambda n: TypedValue(ValueType.FLOAT64, n)),
        st.lists(st.floats(width=32), max_size=4).map(lambda n: array(ValueType.FLOAT32, n)),
        st.booleans().map(lambda n: TypedValue(ValueType.BOOL, n)),
        _TEXTS.map(lambda n: TypedValue(ValueType.STRING, n)),
        st.lists(_TEXTS, max_size=4).map(lambda n: array(ValueType.STRING, n)),
    )


@given(
    architecture=st.sampled_from(ARCHITECTURES),
    changes=st.dictionaries(st.sampled_from(KEYS), _values(), max_size=8),
)
def test_any_metadata_is_described(architecture: str, changes: dict[str, TypedValue]) -> None:
    extra = {key.replace("{arch}", architecture): value for key, value in changes.items()}
    found = model(extra, architecture=architecture)
    described = describe_set(join_headers("x", [HeaderFile("x", found)]), devices=())
    json.dumps(asdict(described), allow_nan=False)
    json.dumps(metadata_in(found, "x"), allow_nan=False)
    show_description(Output("inspect"), described)


@given(st.dictionaries(st.sampled_from(KEYS), _values(), max_size=3))
def test_any_value_is_printed_whole(changes: dict[str, TypedValue]) -> None:
    found = model({key.replace("{arch}", "llama"): value for key, value in changes.items()})
    for key in found.metadata:
        json.dumps(metadata_in(found, "x", key), allow_nan=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_not_told(value: float) -> None:
    infinite = TypedValue(ValueType.FLOAT32, value)
    extra: dict[str, Any] = {"llama.rope.freq_base": infinite, "general.sampling.temp": infinite}
    described = describe_set(join_headers("x", [HeaderFile("x", model(extra))]), devices=())
    assert described.dimensions is not None
    assert described.dimensions.rope.base is None
    assert described.sampling == {}
