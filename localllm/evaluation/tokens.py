"""From texts to the chunks of tokens a model is evaluated on, by llama-perplexity's rule.

Each text is tokenized as a whole, with the special tokens the model wants, and cut into chunks; the first
token of a chunk is replaced by BOS where the model adds one. Chunks of several texts take turns, and what is
left over of them is cut in the same way; the end of that is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

from localllm.errors import UsageError
from localllm.evaluation.plan import FEWEST_TOKENS
from localllm.imatrix.chunks import cut
from localllm.native.model import Model

_FEWEST_CHUNKS = 2  # as llama-perplexity demands of a text


def tokenize_texts(model: Model, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text, none of them parsed as a control token."""
    return [model.tokenize(text, add_special=True, parse_special=False) for text in texts]


def cut_into_chunks(model: Model, tokenized: Sequence[Sequence[int]], context_size: int) -> list[list[int]]:
    """Return all chunks of `context_size` tokens.

    Raise UsageError when that is too few tokens to score anything, or when there are fewer than two chunks.
    """
    if context_size < FEWEST_TOKENS:
        raise UsageError(
            f"chunks of {context_size} tokens are too short; {FEWEST_TOKENS} are the fewest",
            hint="choose a larger `--context`",
        )
    chunks = cut(tokenized, context_size, bos=model.bos if model.adds_bos else None)
    if len(chunks) < _FEWEST_CHUNKS:
        total = sum(map(len, tokenized))
        raise UsageError(
            f"the text has only {total} tokens, but at least {_FEWEST_CHUNKS * context_size} are needed",
            hint="pass a longer text with `--text FILE`, or choose a smaller `--context`",
        )
    return chunks
