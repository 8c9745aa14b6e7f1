"""How well a model predicts a text: perplexity by llama-perplexity's definition.

The text is tokenized once, cut into chunks of `context_size` tokens (the tail is dropped), each
chunk evaluated from an empty cache; the first token of a chunk is replaced by BOS when the model
adds one, and only the second half of each chunk is scored. Perplexity is exp of the mean negative
log likelihood; its standard error treats the scores as independent.
Source: tools/perplexity/perplexity.cpp of llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localllm.errors import UsageError
from localllm.events import Advanced, Emit, ignore
from localllm.native.context import Context
from localllm.native.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 512


@dataclass(frozen=True)
class Perplexity:
    """`value` with its standard error, over `tokens` scored tokens in `chunks` chunks."""

    value: float
    stderr: float
    tokens: int
    chunks: int


def evaluate_perplexity(
    model: Model, chunks: Sequence[Sequence[int]], *, threads: int, emit: Emit = ignore
) -> Perplexity:
    """Return the perplexity of `model` on the chunks `split_into_chunks` made of a text."""
    import numpy as np

    context_size = len(chunks[0])
    scores: list[NDArray[np.float64]] = []
    context = Context(model, context_size=context_size, threads=threads, batch_size=context_size)
    with context:
        for index, chunk in enumerate(chunks):
            scores.append(_score_chunk(context, chunk))
            emit(Advanced("evaluate", index + 1))
    nll = np.concatenate(scores)
    return summarise(nll, len(chunks))


def split_into_chunks(model: Model, text: str, context_size: int = DEFAULT_CONTEXT) -> list[list[int]]:
    """Tokenize `text` and cut it into whole chunks; each begins with BOS if the model adds one.

    Raise UsageError when the text has fewer tokens than two chunks.
    """
    tokens = model.tokenize(text, add_special=True, parse_special=False)
    if len(tokens) < 2 * context_size:
        raise UsageError(
            f"the text has only {len(tokens)} tokens, but at least {2 * context_size} are needed",
            hint="pass a longer text with `--text FILE`",
        )
    count = len(tokens) // context_size
    chunks = [tokens[i * context_size : (i + 1) * context_size] for i in range(count)]
    if model.adds_bos:
        for chunk in chunks:
            chunk[0] = model.bos
    return chunks


def summarise(nll: NDArray[np.float64], chunks: int) -> Perplexity:
    """Turn negative log likelihoods, shape (tokens,), into a perplexity with its standard error."""
    mean, count = float(nll.mean()), len(nll)
    variance = float((nll * nll).mean()) - mean * mean
    value = math.exp(mean)
    return Perplexity(value, value * math.sqrt(max(0.0, variance) / max(1, count - 1)), count, chunks)


def negative_log_likelihood(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -log softmax(logits)[target] per row; logits (rows, vocabulary), targets (rows,).

    Exponentials are float32, sums float64, the maximum is subtracted first.
    """
    import numpy as np

    top = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - top).sum(axis=1, dtype=np.float64)
    chosen = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    result: NDArray[np.float64] = np.log(total) - (chosen - top[:, 0]).astype(np.float64)
    return result


def _score_chunk(context: Context, chunk: Sequence[int]) -> NDArray[np.float64]:
    """Score the second half of one chunk: the logits of position i predict token i + 1."""
    import numpy as np

    first = len(chunk) // 2
    context.clear()
    context.decode(chunk, start=0, logits_from=first)
    logits = context.kept_logits(len(chunk) - first)[:-1]
    return negative_log_likelihood(logits, np.asarray(chunk[first + 1 :], dtype=np.int64))
