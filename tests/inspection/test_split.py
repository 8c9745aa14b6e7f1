"""Split models: looked at as one, whichever file is named, and what is wrong with the set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from localllm.errors import InvalidGGUFError
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue
from localllm.inspection import HeaderFile, describe, inspect, join_headers, tensor_descriptions
from tests.inspection.headers import header, model

PARTS = [f"split-0000{number}-of-00004.gguf" for number in range(1, 5)]


@pytest.fixture
def parts(made: Path, tmp_path: Path) -> Path:
    """A directory with the four files of a split model."""
    for name in PARTS:
        shutil.copy(made / name, tmp_path / name)
    return tmp_path


def messages(path: Path) -> list[str]:
    return [problem.message for problem in inspect(path).problems]


@pytest.mark.parametrize("name", PARTS)
def test_any_file_stands_for_the_model(name: str, parts: Path) -> None:
    found = inspect(parts / name)
    assert found.problems == ()
    assert [Path(file.path).name for file in found.files] == PARTS
    assert found.size_bytes == sum((parts / part).stat().st_size for part in PARTS)
    assert (found.name, found.tensors, found.parameters) == ("Demo", 38, 3_672_320)
    assert found.vocabulary is not None
    assert found.memory is not None


def test_tensors_name_their_file(parts: Path) -> None:
    tensors = tensor_descriptions(parts / PARTS[2])
    assert len(tensors) == 38
    assert [tensor.file for tensor in tensors] == sorted(tensor.file for tensor in tensors)
    assert {tensor.file for tensor in tensors} == set(PARTS)
    last = tensors[-1]
    assert last.offset + last.size_bytes <= (parts / last.file).stat().st_size


def test_missing_files_are_named(parts: Path) -> None:
    for name in PARTS[1:3]:
        (parts / name).unlink()
    assert messages(parts / PARTS[0])[0] == f"2 of 4 files of the model are missing: {PARTS[1]}, {PARTS[2]}"


def test_without_the_first_file_there_is_no_metadata(parts: Path) -> None:
    (parts / PARTS[0]).unlink()
    found = inspect(parts / PARTS[1])
    assert [problem.message for problem in found.problems] == [
        f"1 of 4 files of the model is missing: {PARTS[0]}"
    ]
    assert found.name == ""


def test_a_damaged_file_of_the_set(parts: Path) -> None:
    with (parts / PARTS[1]).open("rb+") as file:
        file.truncate(1000)
    assert "truncated" in messages(parts / PARTS[0])[0]
    with pytest.raises(InvalidGGUFError, match="truncated"):
        inspect(parts / PARTS[1])


def test_a_file_of_another_model_in_its_place(parts: Path) -> None:
    shutil.copy(parts / PARTS[2], parts / PARTS[1])
    found = messages(parts / PARTS[0])
    assert found[0] == "two of its files say that they are the same part (`split.no`)"
    assert found[1].endswith(f"is in {PARTS[1]} and {PARTS[2]}")


def test_a_file_that_was_renamed(parts: Path) -> None:
    shutil.copy(parts / PARTS[1], parts / "alone.gguf")
    found = inspect(parts / "alone.gguf")
    assert [problem.message for problem in found.problems] == [
        "file 2 of 4 of a split model: what is counted is this file's"
    ]
    assert 0 < found.tensors < 38


def part(number: int, count: int, tensors: dict[str, tuple[tuple[int, ...], str]]) -> GGUFHeader:
    keys = {
        str(Key.SPLIT_NUMBER): TypedValue(ValueType.UINT16, number),
        str(Key.SPLIT_COUNT): TypedValue(ValueType.UINT16, count),
        str(Key.SPLIT_TENSORS): TypedValue(ValueType.INT32, 3),
    }
    return model(keys, tensors) if number == 0 else header(keys, tensors, architecture="")


def test_headers_from_elsewhere_are_put_together_in_any_order() -> None:
    first = HeaderFile("https://h/m-1.gguf", part(0, 2, {"token_embd.weight": ((64, 6), "F32")}))
    second = HeaderFile("https://h/m-2.gguf", part(1, 2, {"a": ((8,), "F32"), "b": ((8,), "F32")}))
    found = join_headers("https://h/m-1.gguf", [second, first])
    assert [file.label for file in found.files] == [first.label, second.label]
    assert found.problems == ()
    assert found.whole.architecture == "llama"
    assert [tensor.name for tensor in found.whole.tensors] == ["token_embd.weight", "a", "b"]
    sizes = (first.header.file_size_bytes, second.header.file_size_bytes)
    assert found.whole.file_size_bytes == sum(sizes)


def test_a_header_that_is_alone_says_so() -> None:
    found = describe(part(0, 2, {"a": ((8,), "F32")}), "m.gguf")
    assert found.problems[0].message.startswith("file 1 of 2 of a split model")


def test_counts_that_do_not_agree() -> None:
    tensors = {"token_embd.weight": ((64, 6), "F32")}
    files = [HeaderFile("a", part(0, 2, tensors)), HeaderFile("b", part(1, 2, {"a": ((8,), "F32")}))]
    (problem,) = join_headers("a", files, are_named=True).problems
    assert problem.message == "its files hold 2 tensors together, but it announces 3"
    others = [files[0], HeaderFile("b", part(1, 3, {"a": ((8,), "F32"), "b": ((8,), "F32")}))]
    (problem,) = join_headers("a", others, are_named=True).problems
    assert problem.message == "its files belong to models split into different numbers of files"
