"""Writes the probabilities of tokens as the API does, for chats and for legacy completions (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from localllm.batching import TokenChoice

_NEVER = -9999.0  # the API's number for a logarithm of zero, which JSON cannot write


def chat_logprobs(choices: Iterable[TokenChoice]) -> list[dict[str, Any]]:
    """Return the entries of `logprobs.content`."""
    return [
        {
            **_token(choice.data, choice.logprob),
            "top_logprobs": [_token(data, logprob) for _, data, logprob in choice.alternatives],
        }
        for choice in choices
    ]


def text_logprobs(choices: Sequence[TokenChoice], offset: int) -> dict[str, Any]:
    """Return the legacy object; `offset` is how many characters were said before."""
    tokens = [_text(choice.data) for choice in choices]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [_finite(choice.logprob) for choice in choices],
        "top_logprobs": [
            {_text(data): _finite(logprob) for _, data, logprob in choice.alternatives} for choice in choices
        ],
        "text_offset": offsets,
    }


def _token(data: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _text(data), "logprob": _finite(logprob), "bytes": list(data)}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _finite(logprob: float) -> float:
    return max(logprob, _NEVER)
