"""The tables of the format equal ggml's own and the `gguf` package's."""

from __future__ import annotations

import re

import gguf
import pytest

from localllm.gguf_file.format import FILE_TYPES, SCALAR_FORMATS, TENSOR_TYPES, TensorType, ValueType
from localllm.native.library import ggml


@pytest.mark.parametrize("kind", TENSOR_TYPES.values(), ids=lambda kind: kind.name)
def test_block_layouts_are_ggmls(kind: TensorType) -> None:
    assert kind.block_size == ggml().ggml_blck_size(kind.id)
    assert kind.block_bytes == ggml().ggml_type_size(kind.id)


def test_type_names_are_the_packages() -> None:
    known = {kind.value: kind.name for kind in gguf.GGMLQuantizationType}
    ours = {kind.id: kind.name for kind in TENSOR_TYPES.values() if kind.id in known}
    assert ours == known


def test_value_types_are_the_packages() -> None:
    assert {kind.name: kind.value for kind in ValueType} == {k.name: k.value for k in gguf.GGUFValueType}
    assert set(SCALAR_FORMATS) == set(ValueType) - {ValueType.STRING, ValueType.ARRAY}


def test_file_types_are_the_packages() -> None:
    known = {kind.value: re.sub("^(MOSTLY|ALL)_", "", kind.name) for kind in gguf.LlamaFileType}
    assert all(known[code] == name for code, name in FILE_TYPES.items() if code in known)
    assert len(set(FILE_TYPES.values())) == len(FILE_TYPES)


def test_bits_per_weight() -> None:
    assert TENSOR_TYPES[12].bits_per_weight == 4.5  # Q4_K
    assert TENSOR_TYPES[8].row_bytes(64) == 68  # Q8_0: two blocks of 34 bytes
