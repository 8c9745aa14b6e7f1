"""A model in several files: cut and named as llama.cpp's converter does, all of them or none."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest

from localllm.conversion.convert import convert
from localllm.conversion.plan import PlannedTensor
from localllm.conversion.shards import shards_of
from localllm.errors import CheckpointError, InvalidGGUFError, UsageError
from localllm.events import Event, Started
from localllm.gguf_file import read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.gguf_file.preflight import require_loadable
from localllm.gguf_file.split_names import refuse_other_split, split_paths
from localllm.gguf_file.writer import TensorEntry
from localllm.inspection import inspect
from localllm.native.model import Model
from localllm.verbs.quantize import quantize
from tests.cli.process import files_below, localllm
from tests.conversion.tiny_llama import TinyLlama, write_tiny_llama


def tensors(*sizes: int) -> list[PlannedTensor]:
    kind = TENSOR_TYPES_BY_NAME["F32"]
    return [PlannedTensor(TensorEntry(f"t{i}", (size // 4,), kind)) for i, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([40, 40, 40], None, [3]),
        ([40, 40, 40], 120, [3]),
        ([40, 40, 40], 119, [2, 1]),
        ([40, 40, 40], 80, [2, 1]),
        ([40, 40, 40], 79, [1, 1, 1]),
        ([400, 40, 40], 80, [1, 2]),
        ([40, 400, 40], 80, [1, 1, 1]),
        ([400], 4, [1]),
        ([], 4, [0]),
    ],
)
def test_where_the_list_is_cut(sizes: list[int], limit: int | None, expected: list[int]) -> None:
    """Padding does not count, and a tensor is never cut: llama.cpp's rule."""
    assert [len(shard) for shard in shards_of(tensors(*sizes), limit)] == expected


def test_too_many_files() -> None:
    with pytest.raises(UsageError, match="cannot be split into 65536 files"):
        shards_of(tensors(*[4] * 65_536), 1)


def test_names(tmp_path: Path) -> None:
    assert split_paths(tmp_path / "m.gguf", 1) == [tmp_path / "m.gguf"]
    names = [path.name for path in split_paths(tmp_path / "m.v1-Q8.gguf", 12)]
    assert (names[0], names[11]) == ("m.v1-Q8-00001-of-00012.gguf", "m.v1-Q8-00012-of-00012.gguf")
    assert split_paths(Path("m"), 2)[1] == Path("m-00002-of-00002.gguf")


def test_another_split_of_the_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m-00002-of-00003.gguf").touch()
    for harmless in ("other-00001-of-00009.gguf", "m-1-of-9.gguf", "m.gguf", "m-00001-of-00004.gguf.txt"):
        (tmp_path / harmless).touch()
    refuse_other_split(split_paths(tmp_path / "m.gguf", 3))
    refuse_other_split(split_paths(tmp_path / "m.gguf", 1))
    refuse_other_split(split_paths(tmp_path / "nowhere" / "m.gguf", 2))
    with pytest.raises(
        UsageError, match=r"m-00002-of-00003\.gguf belongs to the same model in 3 files instead of 2"
    ):
        refuse_other_split(split_paths(tmp_path / "m.gguf", 2))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "checkpoint", TinyLlama("BF16"))


def test_the_files_together_are_the_one_file(checkpoint: Path, tmp_path: Path) -> None:
    whole = convert(checkpoint, output=tmp_path / "whole.gguf")
    result = convert(checkpoint, output=tmp_path / "out" / "m.gguf", split_max_bytes=60_000)
    paths = sorted((tmp_path / "out").iterdir())
    assert result.path == paths[0]
    assert [path.name for path in paths] == [f"m-{i:05d}-of-{len(paths):05d}.gguf" for i in range(1, 6)]
    assert (result.files, whole.files) == (5, 1)
    assert result.size_bytes == sum(path.stat().st_size for path in paths)
    readers = [gguf.GGUFReader(path) for path in paths]
    assert [(t.name, t.tensor_type, t.data.tobytes()) for reader in readers for t in reader.tensors] == [
        (t.name, t.tensor_type, t.data.tobytes()) for t in gguf.GGUFReader(whole.path).tensors
    ]
    for number, reader in enumerate(readers):
        own = {key: reader.fields[key] for key in ("split.no", "split.count", "split.tensors.count")}
        assert [field.contents() for field in own.values()] == [number, 5, whole.tensors]
        assert [field.types[0].name for field in own.values()] == ["UINT16", "UINT16", "INT32"]
        others = {key for key in reader.fields if not key.startswith(("GGUF.", "split."))}
        assert others == (set(read_header(whole.path).metadata) if number == 0 else set())


def test_llama_cpp_loads_the_first_file(checkpoint: Path, tmp_path: Path) -> None:
    result = convert(checkpoint, output=tmp_path / "m.gguf", split_max_bytes=60_000)
    with Model(result.path) as model:
        assert model.vocabulary_size == 288
    require_loadable(read_header(result.path), "m")
    with pytest.raises(InvalidGGUFError, match="it is file 2 of a model split into 5; name the first one"):
        require_loadable(read_header(tmp_path / "m-00002-of-00005.gguf"), "m")
    described = inspect(tmp_path / "m-00002-of-00005.gguf")
    assert (len(described.files), described.tensors) == (5, result.tensors)
    assert described.problems == ()


def test_a_limit_that_is_not_reached_changes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, output=tmp_path / "a" / "m.gguf")
    result = convert(checkpoint, output=tmp_path / "b" / "m.gguf", split_max_bytes=10**9)
    assert result.path == tmp_path / "b" / "m.gguf"
    assert result.path.read_bytes() == (tmp_path / "a" / "m.gguf").read_bytes()


@pytest.mark.parametrize("limit", [None, 60_000])
def test_a_source_that_shrinks_leaves_nothing(checkpoint: Path, limit: int | None, tmp_path: Path) -> None:
    def shrink(event: Event) -> None:
        if isinstance(event, Started):
            with (checkpoint / "model.safetensors").open("rb+") as file:
                file.truncate(100_000)

    with pytest.raises(CheckpointError, match="the file ends inside tensor"):
        convert(checkpoint, output=tmp_path / "out" / "m.gguf", split_max_bytes=limit, emit=shrink)
    assert files_below(tmp_path / "out") == set()


def test_quantizing_from_the_first_file(checkpoint: Path, tmp_path: Path) -> None:
    first = convert(checkpoint, output=tmp_path / "m.gguf", split_max_bytes=60_000).path
    whole = convert(checkpoint, output=tmp_path / "whole.gguf")
    [result] = quantize(first, ["Q8_0"], output=tmp_path / "q.gguf")
    assert len(read_header(result.path).tensors) == whole.tensors


def test_the_command(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "m.gguf"
    result = localllm("convert", checkpoint, "-o", target, "--split-max-size", "100k", "--json")
    data = json.loads(result.stdout)["data"]
    assert (data["files"], data["path"]) == (3, str(tmp_path / "out" / "m-00001-of-00003.gguf"))
    again = localllm("convert", checkpoint, "-o", target, "--split-max-size", "100K")
    assert again.returncode == 0
    assert "in 3 files" in again.stderr
    other = localllm("convert", checkpoint, "-o", target, "--split-max-size", "60K")
    assert other.returncode == 2
    assert "m-00001-of-00003.gguf belongs to the same model" in other.stderr
    assert len(files_below(tmp_path / "out")) == 3


@pytest.mark.parametrize("size", ["", "0", "4T", "-1", "1.5G", "G", "4GB"])
def test_sizes_that_make_no_sense(size: str, checkpoint: Path, tmp_path: Path) -> None:
    result = localllm("convert", checkpoint, "-o", tmp_path / "m.gguf", "--split-max-size", size)
    assert result.returncode == 2
    assert "is not a number followed by K, M or G" in result.stderr
    assert "Traceback" not in result.stderr
