"""How a context is shared between prompt and answer, in tokens (pure)."""

from __future__ import annotations

from localllm.engine import SamplingOptions

_ANSWER_SHARE = 4  # a quarter of the context is kept free for an answer of unknown length
_LEAST_ANSWER_SHARE = 16  # where a single message needs the room


def answer_room(context_size: int, options: SamplingOptions) -> int:
    """Return the tokens kept free for the answers: what they may take, at most half of the context."""
    if options.max_tokens is not None:
        return min(options.max_tokens * options.n, context_size // 2)
    return context_size // _ANSWER_SHARE


def prompt_room(context_size: int, options: SamplingOptions) -> int:
    """Return what a prompt may take."""
    return context_size - answer_room(context_size, options)


def largest_prompt(context_size: int) -> int:
    """Return what a prompt may take that cannot be any shorter."""
    return context_size - max(context_size // _LEAST_ANSWER_SHARE, 1)


def needed_context(tokens: int, options: SamplingOptions) -> int:
    """Return the context size in which a prompt of so many tokens is within `prompt_room`."""
    if options.max_tokens is not None:
        return min(tokens + options.max_tokens * options.n, 2 * tokens)
    return tokens * _ANSWER_SHARE // (_ANSWER_SHARE - 1) + 1
