"""What changed between two models, by their headers."""

from __future__ import annotations

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array, string, uint32
from localllm.inspection import HeaderFile, join_headers
from localllm.inspection.difference import Change, Difference, TensorChange, compare_headers
from localllm.inspection.token_changes import TokenExample
from tests.inspection.headers import TEMPLATE, TOKENS, model


def between(old: GGUFHeader, new: GGUFHeader) -> Difference:
    files = [join_headers(label, [HeaderFile(label, each)]) for label, each in (("old", old), ("new", new))]
    return compare_headers(*files)


def test_a_model_does_not_differ_from_itself() -> None:
    found = between(model(), model())
    assert found.is_empty
    assert found.old_size_bytes == found.new_size_bytes


def test_metadata() -> None:
    old = model({"general.author": string("Ada"), "general.tags": array(ValueType.STRING, ["a", "b", "c"])})
    new = model(
        {
            "general.tags": array(ValueType.STRING, ["a", "x"]),
            "general.license": string("mit"),
            "llama.context_length": uint32(8192),
        }
    )
    found = between(old, new)
    assert found.metadata_added == {"general.license": "mit"}
    assert found.metadata_removed == {"general.author": "Ada"}
    assert found.metadata_changed == {
        "general.tags": Change("[3 x string]", "[2 x string]", 2),
        "llama.context_length": Change(4096, 8192),
    }
    assert not found.is_empty


def test_a_value_of_another_type_is_a_change() -> None:
    old, new = ({"general.x": TypedValue(kind, 7)} for kind in (ValueType.UINT32, ValueType.UINT64))
    assert between(model(old), model(new)).metadata_changed == {"general.x": Change(7, 7)}


def test_where_a_model_is_split_is_no_difference() -> None:
    split = {str(Key.SPLIT_COUNT): TypedValue(ValueType.UINT16, 1)}
    assert between(model(split), model()).is_empty


def test_tensors_like_ones_together() -> None:
    embedding = {"token_embd.weight": ((64, len(TOKENS)), "F32")}
    layers = {f"blk.{layer}.ffn_up.weight": ((64, 32), "F16") for layer in range(3)}
    changed = {name: (shape, "Q8_0") for name, (shape, _) in layers.items()}
    old = model(tensors={**embedding, **layers, "gone.weight": ((64, 2), "F32")})
    new = model(tensors={"token_embd.weight": ((64, 7), "F32"), **changed, "new.bias": ((64,), "F32")})
    found = between(old, new)
    assert found.tensors_added == (TensorChange("new.bias", "", "F32 [64]", 1),)
    assert found.tensors_removed == (TensorChange("gone.weight", "F32 [64 x 2]", "", 1),)
    assert found.types_changed == (TensorChange("blk.*.ffn_up.weight", "F16", "Q8_0", 3),)
    assert found.shapes_changed == (TensorChange("token_embd.weight", "64 x 6", "64 x 7", 1),)


def test_vocabularies_are_counted_with_examples() -> None:
    tokens = {str(Key.TOKENS): array(ValueType.STRING, [*TOKENS[:3], "A", "B", *TOKENS[5:], "new"])}
    found = between(model(), model(tokens)).tokens
    assert found is not None
    assert (found.old_size, found.new_size) == (6, 7)
    assert (found.changed, found.added, found.removed) == (2, 1, 0)
    assert found.examples == (
        TokenExample(3, "a", "A"),
        TokenExample(4, "b", "B"),
        TokenExample(6, None, "new"),
    )
    backwards = between(model(tokens), model()).tokens
    assert backwards is not None
    assert (backwards.changed, backwards.added, backwards.removed) == (2, 0, 1)
    assert backwards.examples[-1] == TokenExample(6, "new", None)


def test_of_many_changes_the_first_are_shown() -> None:
    tokens = {str(Key.TOKENS): array(ValueType.STRING, [f"t{index}" for index in range(1000)])}
    found = between(model(), model(tokens)).tokens
    assert found is not None
    assert (found.changed, found.added) == (6, 994)
    assert [example.id for example in found.examples] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_templates_as_a_unified_diff() -> None:
    new = model({str(Key.CHAT_TEMPLATE): string(TEMPLATE.replace("{{ m['role'] }}", "{{ m['name'] }}"))})
    found = between(model(), new)
    lines = found.template.splitlines()
    assert lines[:2] == ["--- old", "+++ new"]
    assert [line[0] for line in lines[3:]] == ["-", "+", " "]
    assert "m['name']" in lines[4]
    assert list(found.metadata_changed) == [str(Key.CHAT_TEMPLATE)]
