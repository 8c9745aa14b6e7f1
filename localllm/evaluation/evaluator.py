"""Runs a model over chunks of tokens and scores the second half of each, as llama-perplexity does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from localllm.evaluation.kept_rows import KeptRows, joined
from localllm.evaluation.plan import first_scored, plan, scored_per_chunk
from localllm.evaluation.scores import Scores
from localllm.evaluation.scoring import Positions, score, score_against, score_and_keep
from localllm.evaluation.store import ReferenceStore
from localllm.events import Advanced, Emit, ignore
from localllm.native.context import Context
from localllm.native.model import Model

Chunks = Sequence[Sequence[int]]
# given the number of a chunk, the first of its scored positions at hand, and these
_Score = Callable[[int, int, Positions, Executor], Scores]
STEP = "evaluate"


def evaluate(
    model: Model,
    chunks: Chunks,
    *,
    threads: int,
    first_chunk: int = 0,
    reference: ReferenceStore | None = None,
    emit: Emit = ignore,
) -> Scores:
    """Return the scores of `model` on chunks of one length, in order, compared with `reference` if given.

    The first of them is chunk number `first_chunk` of the text. Raise VocabularyMismatchError or
    ReferenceStoreError when the reference does not fit, GenerationError when the model computes no numbers.
    """
    if reference is None:
        return _run(model, chunks, lambda _, __, rows, pool: score(rows, pool), threads, emit)
    reference.require_vocabulary(model.vocabulary_size)
    if chunks:
        reference.require_context(len(chunks[0]))
    kept = _Kept(reference, chunks, first_chunk)

    def against(index: int, first: int, positions: Positions, executor: Executor) -> Scores:
        return score_against(positions, kept.rows(index), first, executor)

    return _run(model, chunks, against, threads, emit)


def evaluate_reference(
    model: Model,
    chunks: Chunks,
    store: ReferenceStore,
    *,
    threads: int,
    first_chunk: int = 0,
    emit: Emit = ignore,
) -> Scores:
    """Return the scores of the reference itself, and keep its predictions in `store`."""
    writing = _Writing(store, chunks, first_chunk)
    return _run(model, chunks, writing.score, threads, emit)


class _Kept:
    """The rows of the chunks as they are needed; those of one chunk are held."""

    def __init__(self, store: ReferenceStore, chunks: Chunks, first_chunk: int) -> None:
        self._store, self._chunks, self._first_chunk = store, chunks, first_chunk
        self._held: dict[int, KeptRows] = {}

    def rows(self, index: int) -> KeptRows:
        if index not in self._held:
            self._held = {index: self._store.read(self._first_chunk + index, self._chunks[index])}
        return self._held[index]


class _Writing:
    """Keeps what is scored, and writes a chunk when it is complete."""

    def __init__(self, store: ReferenceStore, chunks: Chunks, first_chunk: int) -> None:
        self._store, self._chunks, self._first_chunk = store, chunks, first_chunk
        self._parts: dict[int, list[KeptRows]] = {}

    def score(self, index: int, first: int, positions: Positions, executor: Executor) -> Scores:
        wanted = scored_per_chunk(len(self._chunks[index]))
        number = self._first_chunk + index
        generator = random.Random(f"{number} {first}")  # so that a store can be made again as it was
        scores, rows = score_and_keep(positions, generator, executor)
        self._parts.setdefault(index, []).append(rows)
        if first + len(positions.targets) == wanted:
            self._store.append(number, self._chunks[index], joined(self._parts.pop(index)))
        return scores


def _run(model: Model, chunks: Chunks, score_rows: _Score, threads: int, emit: Emit) -> Scores:
    """Decode all chunks, each from an empty cache, and score them as their logits arrive."""
    if not chunks:
        return Scores.joined([])
    how = plan(len(chunks[0]), len(chunks), model.vocabulary_size)
    parts: list[list[Scores]] = [[] for _ in chunks]
    context = Context(
        model,
        context_size=how.context_size * how.together,
        threads=threads,
        batch_size=how.batch_tokens,
        sequences=how.together,
    )
    with context, ThreadPoolExecutor(threads) as executor:
        for begin in range(0, len(chunks), how.together):
            group = chunks[begin : begin + how.together]
            context.clear()
            for step in how.steps():
                for index, first, positions in _decoded(context, group, step):
                    parts[begin + index].append(score_rows(begin + index, first, positions, executor))
            emit(Advanced(STEP, begin + len(group)))
    return Scores.joined([part for chunk in parts for part in chunk])


def _decoded(context: Context, group: Chunks, step: range) -> Iterator[tuple[int, int, Positions]]:
    """Decode some positions of all chunks of a group.

    Yield for each chunk its number in the group, the first of its scored positions among these, counted from
    the first that is scored, and what is known of them.
    """
    import numpy as np

    size = len(group[0])
    wanted = first_scored(size)
    skipped = max(0, wanted - step.start)
    kept = len(step) - skipped
    context.decode_together(
        [chunk[step.start : step.stop] for chunk in group],
        start=step.start,
        logits_from=min(skipped, len(step)),
    )
    if kept <= 0:
        context.synchronize()
        return
    logits = context.kept_logits(kept * len(group))
    for index, chunk in enumerate(group):
        begin = step.start + skipped
        targets = np.asarray(chunk[begin + 1 : step.stop + 1], np.int64)
        if len(targets):  # the last position predicts a token that is not there
            rows = logits[index * kept : index * kept + len(targets)]
            yield index, begin - wanted, Positions(rows, targets)
