"""Running a model over chunks: the same scores in whatever steps, and what single tokens give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from localllm.errors import GenerationError, ReferenceStoreError, VocabularyMismatchError
from localllm.evaluation import ReferenceStore, Scores, plan, summarise
from localllm.evaluation.evaluator import evaluate, evaluate_reference
from localllm.evaluation.tokens import cut_into_chunks, tokenize_texts
from localllm.events import Advanced, Event
from localllm.native.context import Context
from localllm.native.model import Model
from tests.tiny_gguf import build_tiny_gguf, raw_tensor

TEXT = "some text to be surprised at " * 40
CLOSE = 2e-3  # float16 in the attention's cache


def chunks_of(model: Model, size: int = 16) -> list[list[int]]:
    return cut_into_chunks(model, tokenize_texts(model, [TEXT]), size)


def test_it_is_what_single_steps_give(tiny_gguf: Path) -> None:
    with Model(tiny_gguf, gpu_layers=0) as model:  # a GPU rounds each size of batch in its own way
        chunks = chunks_of(model)[:5]
        found = evaluate(model, chunks, threads=1)
        losses = []
        with Context(model, context_size=16, threads=1) as context:
            for chunk in chunks:
                context.clear()
                for position, token in enumerate(chunk[:-1]):
                    context.decode([token], start=position)
                    logits = np.array(context.kept_logits(1), dtype=np.float64)[0]
                    if position >= 8:
                        top = logits.max()
                        losses.append(np.log(np.exp(logits - top).sum()) + top - logits[chunk[position + 1]])
    assert len(found) == 5 * 7
    assert found.nll == pytest.approx(losses, abs=CLOSE)


@pytest.mark.parametrize(("batch", "logits"), [(16, 2**28), (48, 2**28), (8, 2**28), (2048, 4 * 279 * 3)])
def test_steps_and_companions_change_nothing(
    batch: int, logits: int, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chunk at a time, three, halves of a chunk, and no more logits than three rows."""
    with Model(tiny_gguf, gpu_layers=0) as model:  # a GPU rounds each size of batch in its own way
        chunks = chunks_of(model)[:7]
        expected = evaluate(model, chunks, threads=1)
        monkeypatch.setattr(plan, "_BATCH_TOKENS", batch)
        monkeypatch.setattr(plan, "_LOGITS_BYTES", logits)
        monkeypatch.setattr(plan, "_STEP_MULTIPLE", 3)
        found = evaluate(model, chunks, threads=1)
    assert found.nll == pytest.approx(expected.nll, abs=CLOSE)


def test_progress_is_told(narrow_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_BATCH_TOKENS", 48)
    events: list[Event] = []
    with Model(narrow_gguf) as model:
        evaluate(model, chunks_of(model)[:7], threads=2, emit=events.append)
        assert len(evaluate(model, [], threads=1)) == 0
    assert events == [Advanced("evaluate", done) for done in (3, 6, 7)]


def test_a_model_that_knows_nothing(tmp_path: Path) -> None:
    """With an output matrix of zeros every token is as likely as any other."""
    with Model(build_tiny_gguf(tmp_path / "plain.gguf", width=64, layers=1)) as model:
        size = model.vocabulary_size
    path = build_tiny_gguf(
        tmp_path / "flat.gguf",
        width=64,
        layers=1,
        tensors={"output.weight": raw_tensor(np.zeros((size, 64), np.float32))},
    )
    with Model(path) as model:
        chunks = chunks_of(model)[:4]
        store = ReferenceStore.create(tmp_path / "reference", size, 16)
        evaluate_reference(model, chunks, store, threads=1)
        quality = summarise(evaluate(model, chunks, threads=1, reference=store))
    assert quality.perplexity is not None
    assert quality.kl_divergence is not None
    assert quality.same_top_token is not None
    assert quality.perplexity.value == pytest.approx(size)
    assert quality.kl_divergence.value == pytest.approx(0, abs=1e-9)
    assert quality.same_top_token.value == 1


def test_a_reference_compared_with_itself(tiny_gguf: Path, tmp_path: Path) -> None:
    with Model(tiny_gguf) as model:
        chunks = chunks_of(model)[:9]
        store = ReferenceStore.create(tmp_path / "reference", model.vocabulary_size, 16)
        # in two parts, as when it is made longer later
        parts = [
            evaluate_reference(model, chunks[:4], store, threads=1),
            evaluate_reference(model, chunks[4:], store, threads=1, first_chunk=4),
        ]
        assert store.chunks == list(range(9))
        found = evaluate(model, chunks[2:], threads=2, first_chunk=2, reference=store)
    reference = Scores.joined(parts).nll[2 * 7 :]
    assert not parts[0].is_compared
    assert found.nll == pytest.approx(reference, abs=CLOSE)
    assert found.reference_nll == pytest.approx(reference, abs=1e-5)
    assert found.kl == pytest.approx(np.zeros(49), abs=1e-5)
    assert found.same_top is not None
    assert found.same_top.all()


def test_another_model_against_the_exact_divergence(tmp_path: Path) -> None:
    models = [build_tiny_gguf(tmp_path / f"{seed}.gguf", seed=seed) for seed in (1, 2)]
    logits = []
    with Model(models[0]) as model:
        chunks = chunks_of(model)[:6]
        store = ReferenceStore.create(tmp_path / "reference", model.vocabulary_size, 16)
        evaluate_reference(model, chunks, store, threads=1)
    for path in models:
        with Model(path) as model, Context(model, context_size=16, threads=1) as context:
            rows = []
            for chunk in chunks:
                context.clear()
                context.decode(chunk, start=0, logits_from=8)
                rows.append(np.array(context.kept_logits(8)[:-1], np.float64))
        together = np.concatenate(rows)
        logits.append(together - np.log(np.exp(together).sum(axis=1, keepdims=True)))
    with Model(models[1]) as model:
        found = evaluate(model, chunks, threads=1, reference=store)
    p, q = logits
    exact = (np.exp(p) * (p - q)).sum(axis=1)
    targets = np.concatenate([chunk[9:] for chunk in chunks])
    change = np.exp(q[np.arange(42), targets]) - np.exp(p[np.arange(42), targets])
    assert found.kl is not None
    assert float(found.kl.mean()) == pytest.approx(exact.mean(), rel=0.1)  # 64 of 277 tokens are kept
    assert found.delta_p == pytest.approx(change, abs=CLOSE)
    assert found.same_top is not None
    assert found.same_top.tolist() == (p.argmax(axis=1) == q.argmax(axis=1)).tolist()


def test_what_does_not_fit_the_reference(narrow_gguf: Path, tmp_path: Path) -> None:
    with Model(narrow_gguf) as model:
        size, chunks = model.vocabulary_size, chunks_of(model)
        other = ReferenceStore.create(tmp_path / "other", size + 1, 16)
        with pytest.raises(VocabularyMismatchError, match="the reference"):
            evaluate(model, chunks, threads=1, reference=other)
        longer = ReferenceStore.create(tmp_path / "longer", size, 32)
        with pytest.raises(ReferenceStoreError, match="chunks of 32 tokens, not 16"):
            evaluate(model, chunks, threads=1, reference=longer)
        store = ReferenceStore.create(tmp_path / "same", size, 16)
        evaluate_reference(model, chunks[:2], store, threads=1)
        with pytest.raises(VocabularyMismatchError, match="other tokens"):
            evaluate(model, chunks[1:3], threads=1, reference=store)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    with Model(build_tiny_gguf(tmp_path / "plain.gguf", width=64, layers=1)) as model:
        size = model.vocabulary_size
    broken = raw_tensor(np.full((size, 64), math.nan, np.float32))
    path = build_tiny_gguf(tmp_path / "nan.gguf", width=64, layers=1, tensors={"output.weight": broken})
    with Model(path) as model, pytest.raises(GenerationError, match="not finite"):
        evaluate(model, chunks_of(model)[:2], threads=1)
