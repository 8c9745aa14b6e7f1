"""What the writer writes, the reader reads back, ours and the `gguf` package's; nonsense is refused."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.gguf_file import ArrayValue, GGUFWriter, TensorEntry, TypedValue, read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.writer import array, boolean, float32, string, uint32
from tests.gguf_file.raw import MemorySource
from tests.tiny_gguf import RawTensor, write_gguf

F32, Q8_0 = TENSOR_TYPES_BY_NAME["F32"], TENSOR_TYPES_BY_NAME["Q8_0"]
INTEGER_BITS = {
    ValueType.UINT8: (0, 2**8 - 1),
    ValueType.INT8: (-(2**7), 2**7 - 1),
    ValueType.UINT16: (0, 2**16 - 1),
    ValueType.INT16: (-(2**15), 2**15 - 1),
    ValueType.UINT32: (0, 2**32 - 1),
    ValueType.INT32: (-(2**31), 2**31 - 1),
    ValueType.UINT64: (0, 2**64 - 1),
    ValueType.INT64: (-(2**63), 2**63 - 1),
}
ITEMS: dict[ValueType, st.SearchStrategy[Any]] = {
    **{kind: st.integers(*bounds) for kind, bounds in INTEGER_BITS.items()},
    ValueType.FLOAT32: st.floats(width=32),
    ValueType.FLOAT64: st.floats(),
    ValueType.BOOL: st.booleans(),
    ValueType.STRING: st.text(st.characters(codec="utf-8"), max_size=40),
}


@st.composite
def values(draw: st.DrawFn) -> TypedValue:
    kind = draw(st.sampled_from(sorted(ITEMS)))
    if draw(st.booleans()):
        return array(kind, draw(st.lists(ITEMS[kind], max_size=5)))
    return TypedValue(kind, draw(ITEMS[kind]))


@st.composite
def tensors(draw: st.DrawFn) -> RawTensor:
    kind = draw(st.sampled_from([F32, Q8_0, TENSOR_TYPES_BY_NAME["Q4_K"], TENSOR_TYPES_BY_NAME["F16"]]))
    row = draw(st.integers(1, 3)) * kind.block_size
    shape = (row, *draw(st.lists(st.integers(1, 4), max_size=3)))
    size = kind.row_bytes(row) * math.prod(shape[1:])
    return RawTensor(kind, shape, draw(st.binary(min_size=1, max_size=1)) * size)


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30).filter(
    lambda key: key != Key.ALIGNMENT
)
NAMES = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1, max_size=63)


def equal(left: Any, right: Any) -> bool:
    """Compare values where NaN equals NaN."""
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right or (left != left and right != right)


@given(st.dictionaries(KEYS, values(), max_size=6), st.dictionaries(NAMES, tensors(), max_size=4), st.data())
def test_what_is_written_is_read(
    metadata: dict[str, TypedValue], weights: dict[str, RawTensor], data: st.DataObject
) -> None:
    alignment = data.draw(st.sampled_from([8, 16, 32, 64, 4096]))
    file = io.BytesIO()
    entries = [TensorEntry(name, tensor.shape, tensor.type) for name, tensor in weights.items()]
    writer = GGUFWriter(file, {**metadata, Key.ALIGNMENT: uint32(alignment)}, entries)
    for name, tensor in weights.items():
        middle = len(tensor.data) // 2
        writer.write_tensor(name, [tensor.data[:middle], memoryview(tensor.data)[middle:]])
    writer.finish()
    written = file.getvalue()
    assert len(written) == writer.total_bytes

    header = read_header(MemorySource(written))
    assert header.alignment == alignment
    assert list(header.metadata) == [*metadata, Key.ALIGNMENT]
    for key, expected in metadata.items():
        found = header.metadata[key]
        if isinstance(found, ArrayValue):
            assert found.item_type is expected.item_type
            found = found.decode()  # type: ignore[assignment]
        assert equal(found, expected.value)
    for info in header.tensors:
        tensor = weights[info.name]
        start = header.data_offset + info.offset
        assert (info.shape, info.type) == (tensor.shape, tensor.type)
        assert start % alignment == 0
        assert written[start : start + info.size_bytes] == tensor.data


@pytest.mark.parametrize("alignment", [32, 64, 256])
def test_the_stock_reader_reads_our_files(alignment: int, tmp_path: Path) -> None:
    path = tmp_path / "ours.gguf"
    metadata = {
        Key.ALIGNMENT: uint32(alignment),
        "text": string("Grüße ✓"),
        "flag": boolean(True),
        "ratio": float32(0.5),
        "words": array(ValueType.STRING, ["a", "", "ü"]),
        "numbers": array(ValueType.INT32, [-1, 2]),
    }
    weights = {"a": RawTensor(F32, (3,), b"abcd" * 3), "b": RawTensor(Q8_0, (32, 2), b"x" * 68)}
    write_gguf(path, metadata, weights)
    reader = gguf.GGUFReader(path)
    assert {key: reader.fields[key].contents() for key in metadata} == {
        key: value.value for key, value in metadata.items()
    }
    assert [(t.name, bytes(t.data.tobytes())) for t in reader.tensors] == [
        (name, tensor.data) for name, tensor in weights.items()
    ]


def writer_of(*entries: TensorEntry) -> GGUFWriter:
    return GGUFWriter(io.BytesIO(), {}, entries)


def test_tensors_come_in_order() -> None:
    writer = writer_of(TensorEntry("a", (1,), F32), TensorEntry("b", (1,), F32))
    with pytest.raises(ValueError, match="expected the data of 'a', got 'b'"):
        writer.write_tensor("b", [bytes(4)])


@pytest.mark.parametrize("size", [0, 3, 5])
def test_tensors_have_their_size(size: int) -> None:
    with pytest.raises(ValueError, match=f"'a' has {size} bytes of data, not 4"):
        writer_of(TensorEntry("a", (1,), F32)).write_tensor("a", [bytes(size)])


def test_no_tensor_is_forgotten() -> None:
    writer = writer_of(TensorEntry("a", (1,), F32))
    with pytest.raises(ValueError, match="no data for 'a'"):
        writer.finish()


def test_no_tensor_is_written_twice() -> None:
    writer = writer_of(TensorEntry("a", (1,), F32))
    writer.write_tensor("a", [bytes(4)])
    with pytest.raises(ValueError, match="'a'"):
        writer.write_tensor("a", [bytes(4)])


def test_names_appear_once() -> None:
    with pytest.raises(ValueError, match="appears twice"):
        writer_of(TensorEntry("a", (1,), F32), TensorEntry("a", (1,), F32))


@pytest.mark.parametrize("name", ["", "n" * 64, "ü" * 32, "a\0b"])
def test_names_llama_cpp_refuses_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 63 bytes"):
        writer_of(TensorEntry(name, (1,), F32))


def test_rows_fit_the_block() -> None:
    with pytest.raises(ValueError, match="multiple"):
        writer_of(TensorEntry("a", (33,), Q8_0))


@pytest.mark.parametrize("shape", [(), (1, 1, 1, 1, 1), (-1,)])
def test_shapes_ggml_refuses_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="'a' has the shape"):
        writer_of(TensorEntry("a", shape, F32))


@pytest.mark.parametrize("alignment", [0, 13, 2**31])
def test_alignments_the_reader_refuses_are_refused(alignment: int) -> None:
    with pytest.raises(ValueError, match="alignment"):
        GGUFWriter(io.BytesIO(), {Key.ALIGNMENT: uint32(alignment)}, [])


def test_an_array_needs_its_item_type() -> None:
    with pytest.raises(ValueError, match="item type"):
        GGUFWriter(io.BytesIO(), {"a": TypedValue(ValueType.ARRAY, [1])}, [])


@pytest.mark.parametrize("key", ["", "k" * 1025, "a\0b"])
def test_keys_the_reader_refuses_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a metadata key"):
        GGUFWriter(io.BytesIO(), {key: uint32(1)}, [])
