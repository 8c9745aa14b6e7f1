"""The whole evaluation in a child process, on the demo model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.errors import ReferenceStoreError, UsageError, VocabularyMismatchError
from localllm.evaluation import EVALUATE_JOB, Quality, ReferenceStore, Scores, kl_difference, summarise
from localllm.events import Advanced, Event
from localllm.native.worker import run_job
from localllm.pipeline import quantize_model
from localllm.quantization.levels import parse_levels
from localllm.store import shipped_checkpoint
from tests.tiny_gguf import build_tiny_gguf

LEVELS = ("F16", "Q8_0", "Q2_K")


@pytest.fixture(scope="module")
def demo() -> Path:
    path = shipped_checkpoint("demo")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def models(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {level: folder / f"demo-{level}.gguf" for level in LEVELS}
    quantize_model(demo, [(level, paths[level.name]) for level in parse_levels(LEVELS)])
    return paths


def run(path: Path, text: Path, folder: Path, **options: Any) -> tuple[dict[str, Any], Scores]:
    scores = folder / "scores.npz"
    emit = options.pop("emit", lambda event: None)
    arguments = {
        "path": str(path),
        "texts": [str(text)],
        "chat_format": False,
        "context_size": 512,
        "first_chunk": 0,
        "chunks": 4,
        "threads": 2,
        "reference": None,
        "writes_reference": False,
        "scores": str(scores),
        **options,
    }
    return run_job(EVALUATE_JOB, arguments, emit=emit), Scores.load(scores)


def test_levels_against_the_reference(models: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    text, directory = demo / "eval.txt", tmp_path / "reference"
    events: list[Event] = []
    result, first = run(
        models["F16"],
        text,
        tmp_path,
        reference=str(directory),
        writes_reference=True,
        emit=events.append,
    )
    assert (result["chunks"], result["tokens"]) == (4, 4 * 255)
    assert result["available_chunks"] >= 8
    assert 0 < result["seconds"] < 100
    assert result["peak_memory_bytes"] < 500e6
    assert events[-1] == Advanced("evaluate", 4)
    assert not first.is_compared
    found: dict[str, Quality] = {}
    scores = {}
    for level in LEVELS:
        _, scores[level] = run(models[level], text, tmp_path, reference=str(directory))
        found[level] = summarise(scores[level])
    divergences = [quality.kl_divergence.value for quality in found.values() if quality.kl_divergence]
    assert divergences[0] == pytest.approx(0, abs=1e-6)
    assert divergences == sorted(divergences)
    assert kl_difference(scores["Q2_K"], scores["Q8_0"]).value == pytest.approx(
        divergences[2] - divergences[1], rel=1e-3
    )
    same = found["F16"].same_top_token
    assert same is not None
    assert same.value == 1
    perplexity = found["Q8_0"].perplexity
    assert perplexity is not None
    assert 1.5 < perplexity.value < 3
    logits_bytes = 4 * 255 * (2 * 2048 + 8)
    assert ReferenceStore.open(directory).size_bytes <= logits_bytes / 10


def test_later_chunks_and_the_end(models: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    text = demo / "eval.txt"
    _, four = run(models["Q8_0"], text, tmp_path)
    _, last = run(models["Q8_0"], text, tmp_path, first_chunk=3, chunks=1)
    assert last.nll == pytest.approx(four.nll[3 * 255 :], abs=2e-2)
    result, none = run(models["Q8_0"], text, tmp_path, first_chunk=1000)
    assert (result["chunks"], result["tokens"], len(none)) == (0, 0, 0)


def test_as_a_chat(models: dict[str, Path], demo: Path, tmp_path: Path) -> None:
    plain, _ = run(models["Q8_0"], demo / "eval.txt", tmp_path, chunks=2)
    chat, scores = run(models["Q8_0"], demo / "eval.txt", tmp_path, chunks=2, chat_format=True)
    assert (chat["chunks"], chat["tokens"]) == (2, 2 * 255)
    assert chat["available_chunks"] > plain["available_chunks"]  # the turns' control tokens
    # what users say was not learned by heart: some tokens are as good as certain, some as good as impossible
    assert np.quantile(scores.nll, 0.25) < 0.01
    assert scores.nll.max() > 10


def test_errors_cross_the_process(models: dict[str, Path], narrow_gguf: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("too short")
    with pytest.raises(UsageError, match="at least 1024 are needed"):
        run(models["Q8_0"], text, tmp_path)
    text.write_text("abcdefgh " * 40)
    directory = str(tmp_path / "reference")
    small = {"context_size": 16, "reference": directory}
    run(narrow_gguf, text, tmp_path, writes_reference=True, **small)
    with pytest.raises(VocabularyMismatchError, match="the reference 277"):
        run(models["Q8_0"], text, tmp_path, **small)
    other = build_tiny_gguf(tmp_path / "bpe.gguf", width=64, layers=1, vocabulary="bpe")
    with pytest.raises(VocabularyMismatchError):
        run(other, text, tmp_path, **small)
    (tmp_path / "reference" / "chunk-000001.bin").write_bytes(b"")
    with pytest.raises(ReferenceStoreError, match="damaged"):
        run(narrow_gguf, text, tmp_path, **small)
