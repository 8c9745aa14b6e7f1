"""Importance matrices: which levels demand one, which files belong to a model, what is noted of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localllm.errors import QuantizationError, UsageError
from localllm.events import Event, Notice
from localllm.gguf_file import read_header
from tests.quantization.making import make, plan, some_matrix, written
from tests.tiny_gguf import build_tiny_gguf


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gguf(tmp_path_factory.mktemp("source") / "tiny-F32.gguf", layers=2)


def test_levels_that_need_one_are_named_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="IQ2_XXS, Q2_K_S need an importance matrix") as caught:
        plan(source, ["Q8_0", "IQ2_XXS", "Q2_K_S"], tmp_path / "out")
    assert "--imatrix auto" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_no_matrix_is_needed_where_nothing_fits_the_block(tmp_path: Path) -> None:
    """64 columns make every tensor fall back to a type that does without."""
    narrow = build_tiny_gguf(tmp_path / "narrow.gguf", width=64, layers=1)
    assert plan(narrow, ["IQ2_XXS"], tmp_path).levels[0].needs_matrix == ()


def test_a_matrix_of_another_model_is_refused(source: Path, tmp_path: Path) -> None:
    entries = some_matrix(source)
    entries["blk.1.ffn_up.weight"] = np.ones((1, 128), np.float32)
    importances = written(entries, tmp_path / "m.dat")
    with pytest.raises(
        QuantizationError, match=r"has 128 importances for `blk.1.ffn_up.weight`, which has 256"
    ):
        plan(source, ["Q4_K_M"], tmp_path, importances=importances)


def test_a_matrix_that_lacks_what_a_level_needs(source: Path, tmp_path: Path) -> None:
    entries = some_matrix(source)
    del entries["blk.0.attn_q.weight"]
    importances = written(entries, tmp_path / "m.dat")
    with pytest.raises(QuantizationError, match=r"IQ2_XXS needs importances for `blk.0.attn_q.weight`"):
        plan(source, ["IQ2_XXS"], tmp_path, importances=importances)


def test_a_matrix_with_gaps_is_used_and_the_gaps_are_told(source: Path, tmp_path: Path) -> None:
    entries = some_matrix(source)
    del entries["blk.0.attn_q.weight"], entries["blk.1.ffn_up.weight"]
    importances = written(entries, tmp_path / "m.dat")
    events: list[Event] = []
    plan(source, ["Q4_K_M"], tmp_path, importances=importances, emit=events.append)
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "nothing for `blk.0.attn_q.weight` and 1 more" in notice.message


def test_where_the_matrix_came_from_is_in_the_file(source: Path, tmp_path: Path) -> None:
    importances = written(some_matrix(source), tmp_path / "m.dat")
    (made,) = make(source, ["Q4_K_M"], tmp_path, importances=importances)
    metadata = read_header(made.path).metadata
    assert metadata["quantize.imatrix.file"] == "m.dat", "the path says more about the user than the model"
    assert metadata["quantize.imatrix.entries_count"] == len(some_matrix(source))
    assert "quantize.imatrix.chunks_count" not in metadata
