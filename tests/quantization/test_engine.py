"""`--engine llama.cpp` goes through the same plan, publication and checks, and makes the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localllm.assembly import Recipe
from localllm.conversion.convert import convert
from localllm.errors import QuantizationError, UsageError
from localllm.events import Advanced, Event, Finished, Started
from localllm.gguf_file.split_names import model_files
from localllm.pipeline import open_source
from localllm.quantization.levels import LEVELS
from localllm.quantization.options import Override, QuantizationOptions
from localllm.quantization.quantize import plan_quantization, quantize
from localllm.store import shipped_checkpoint
from tests.quantization.making import make, plan, some_matrix, written
from tests.tiny_gguf import build_tiny_gguf

WISHES = {
    "types": QuantizationOptions(tensor_types=(("ffn_down", "Q8_0"),), output_type="Q5_K", pure=True),
    "metadata": QuantizationOptions(
        overrides=(Override("general.name", "str", "new"), Override("tiny.new", "int", 7))
    ),
    "pruned": QuantizationOptions(prune_layers=(0,)),
    "output": QuantizationOptions(leave_output=True, token_embedding_type="Q3_K"),
}


def make_with_llama_cpp(source: Path, levels: list[str], directory: Path, **wishes: Any) -> None:
    quantize(plan(source, levels, directory, **wishes), threads=2, force=True, engine="llama.cpp")


def require_same(source: Path, levels: list[str], tmp_path: Path, **wishes: Any) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    make(source, levels, own, **wishes)
    make_with_llama_cpp(source, levels, theirs, **wishes)
    names = sorted(path.name for path in own.iterdir())
    assert sorted(path.name for path in theirs.iterdir()) == names
    for name in names:
        assert (own / name).read_bytes() == (theirs / name).read_bytes(), name


@pytest.mark.parametrize("name", WISHES)
def test_options(name: str, tiny_gguf: Path, tmp_path: Path) -> None:
    require_same(tiny_gguf, ["Q4_K_M"], tmp_path, options=WISHES[name])


def test_a_matrix(tiny_gguf: Path, tmp_path: Path) -> None:
    importances = written(some_matrix(tiny_gguf), tmp_path / "matrix.dat")
    require_same(tiny_gguf, ["IQ2_XS", "Q3_K_M"], tmp_path, importances=importances)


def test_another_alignment(tmp_path: Path) -> None:
    require_same(build_tiny_gguf(tmp_path / "wide-F32.gguf", alignment=64), ["Q5_K_S"], tmp_path)


def test_a_split_model(tmp_path: Path) -> None:
    demo = shipped_checkpoint("demo")
    assert demo is not None
    source = convert(demo, output=tmp_path / "demo-BF16.gguf", split_max_bytes=4_000_000).path
    require_same(source, ["Q8_0"], tmp_path, options=QuantizationOptions(keep_split=True))
    assert len(model_files(tmp_path / "theirs" / "Q8_0-00001-of-00002.gguf")) == 2


def test_progress_is_told(tiny_gguf: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    quantize(
        plan(tiny_gguf, ["Q4_K_M"], tmp_path), threads=1, force=True, engine="llama.cpp", emit=events.append
    )
    steps = [event for event in events if isinstance(event, Started | Advanced | Finished)]
    assert isinstance(steps[0], Started)
    assert steps[0].unit == "tensors"
    assert steps[0].total == sum(1 for _ in plan(tiny_gguf, ["Q4_K_M"], tmp_path).levels[0].tensors)
    assert steps[-1] == Finished("quantize")


def test_a_checkpoint_is_refused(tmp_path: Path) -> None:
    demo = shipped_checkpoint("demo")
    assert demo is not None
    found = plan_quantization(open_source(Recipe(demo)), [(LEVELS["Q8_0"], tmp_path / "out" / "Q8_0.gguf")])
    with pytest.raises(UsageError, match=r"llama\.cpp's quantizer reads GGUF files only"):
        quantize(found, engine="llama.cpp")
    assert list(tmp_path.iterdir()) == []


def test_what_llama_cpp_refuses_leaves_nothing(tmp_path: Path) -> None:
    """NaN among the weights only shows while they are read."""
    import numpy as np

    from tests.tiny_gguf import raw_tensor

    broken = raw_tensor(np.full((256, 256), np.nan, np.float32))
    source = build_tiny_gguf(tmp_path / "broken-F32.gguf", tensors={"blk.1.ffn_up.weight": broken})
    with pytest.raises(QuantizationError, match=r"llama\.cpp refuses: "):
        make_with_llama_cpp(source, ["Q4_K_M"], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken-F32.gguf"]
