"""Vectors of texts: the mean over the tokens, the first token's or the last one's, of length 1.

Which of them a model was trained for stands in its file; for one that was not trained for it, it is the mean.
A model that looks back only is computed in chunks, whatever the length; one that looks both ways (BERT) sees
a text at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from localllm.errors import ModelLoadError
from localllm.gguf_file import GGUFHeader
from localllm.native.context import Context, Piece
from localllm.native.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK_TOKENS = 512
# llama.cpp keeps a row of logits for every token, although nobody wants them
_LOGIT_BYTES = 256 * 1024 * 1024
_SEQUENCES = 16


class Pooling(StrEnum):
    """How the vectors of the tokens become one."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"


_NUMBERS = {1: Pooling.MEAN, 2: Pooling.CLS, 3: Pooling.LAST}  # enum llama_pooling_type
_RANK = 4


def pooling_of(header: GGUFHeader) -> Pooling | None:
    """Return what the file says, or the mean; None for a model that ranks texts."""
    number = header.architecture_integer("pooling_type")
    return None if number == _RANK else _NUMBERS.get(number or 0, Pooling.MEAN)


class Embedder:
    """Embeds with `model`, in a context of its own that is made on first use; from any thread, one at a time.

    `make` makes a context: make(size, batch_size, sequences, pooling number or 0).
    """

    def __init__(
        self,
        model: Model,
        pooling: Pooling,
        longest: int,
        make: Callable[[int, int, int, int], Context],
        *,
        looks_ahead: bool,
    ) -> None:
        self._model = model
        self._pooling = pooling
        self._longest = longest
        self._make = make
        self._looks_ahead = looks_ahead
        self._lock = threading.Lock()
        self._context: Context | None = None
        self._is_closed = False
        self.tokens = 0  # embedded until now

    def embed(self, prompts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Return a vector of length 1 for each prompt of 1 to `longest` tokens."""
        with self._lock:
            context = self._ready()
            vectors = [self._raw(context, group) for group in self._groups(prompts, context.batch_size)]
            self.tokens += sum(map(len, prompts))
        return [_normalised(vector) for group in vectors for vector in group]

    def close(self) -> None:
        """Free the context, after what is being embedded."""
        with self._lock:
            self._is_closed = True
            if self._context is not None:
                self._context.close()
                self._context = None

    def _ready(self) -> Context:
        if self._is_closed:
            raise ModelLoadError("the model was unloaded")
        if self._context is None:
            number = next(n for n, pooling in _NUMBERS.items() if pooling is self._pooling)
            if self._looks_ahead:
                self._context = self._make(self._longest, self._longest, _SEQUENCES, number)
            else:
                rows = max(1, _LOGIT_BYTES // (4 * self._model.vocabulary_size))
                chunk = min(_CHUNK_TOKENS, rows, self._longest)
                self._context = self._make(max(chunk, self._longest), chunk, _SEQUENCES, 0)
        return self._context

    def _groups(self, prompts: Sequence[Sequence[int]], room: int) -> Iterator[list[Sequence[int]]]:
        """Yield neighbours that fit into one batch together, and alone what does not."""
        group: list[Sequence[int]] = []
        for prompt in prompts:
            if group and (len(group) == _SEQUENCES or sum(map(len, group)) + len(prompt) > room):
                yield group
                group = []
            group.append(prompt)
        if group:
            yield group

    def _raw(self, context: Context, group: list[Sequence[int]]) -> list[NDArray[np.float32]]:
        context.clear()
        if self._looks_ahead:
            _decode(context, [Piece(index, 0, prompt, 0) for index, prompt in enumerate(group)])
            return [context.sequence_embedding(index).copy() for index in range(len(group))]
        if len(group) == 1:
            return [self._pooled_in_chunks(context, group[0])]
        _decode(context, [Piece(index, 0, prompt, 0) for index, prompt in enumerate(group)])
        rows = context.kept_embeddings(sum(map(len, group)))
        vectors, begin = [], 0
        for prompt in group:
            vectors.append(self._pooled(rows[begin : begin + len(prompt)]))
            begin += len(prompt)
        return vectors

    def _pooled_in_chunks(self, context: Context, prompt: Sequence[int]) -> NDArray[np.float32]:
        import numpy as np

        total: NDArray[np.float32] = np.zeros(self._model.embedding_size, np.float32)
        for start in range(0, len(prompt), context.batch_size):
            chunk = prompt[start : start + context.batch_size]
            _decode(context, [Piece(0, start, chunk, 0)])
            rows = context.kept_embeddings(len(chunk))
            if self._pooling is Pooling.MEAN:
                total += rows.sum(axis=0) / len(prompt)
            elif self._pooling is Pooling.LAST or start == 0:
                total = self._pooled(rows)
        return total

    def _pooled(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one vector for the rows of a text's tokens: a copy."""
        if self._pooling is Pooling.MEAN:
            mean: NDArray[np.float32] = rows.mean(axis=0)
            return mean
        one: NDArray[np.float32] = rows[0 if self._pooling is Pooling.CLS else -1].copy()
        return one


def _decode(context: Context, pieces: Sequence[Piece]) -> None:
    if not context.decode_pieces(pieces):
        raise ModelLoadError("the context for embeddings is too small")


def _normalised(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vector at length 1; one of zeros stays."""
    import numpy as np

    length = float(np.linalg.norm(vector))
    return (vector / length).astype(np.float32) if length > 0 else vector
