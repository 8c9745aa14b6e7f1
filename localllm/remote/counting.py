"""How many tokens a conversation takes when nobody here can count them: learnt from what a server tells.

A server tells how long every prompt was, so that what was asked before is known, and what came since is
estimated by how many bytes a token had so far. Prompts nobody asked yet are estimated with a safe guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.engine.base import Messages

_BYTES_PER_TOKEN = 3.0  # of English text some have more, of other scripts fewer
_TOKENS_PER_MESSAGE = 5  # what a template puts around one
_LEAST_BYTES = 200  # to learn from; short prompts are mostly template

Key = tuple[tuple[str, str], ...]


class TokenCounter:
    """Estimates tokens, better with every answer."""

    def __init__(self) -> None:
        self._bytes_per_token = _BYTES_PER_TOKEN
        self._known: Key = ()
        self._known_tokens = 0

    def text(self, text: str) -> int:
        """Return about how many tokens a text is."""
        return -int(-len(text.encode()) // self._bytes_per_token) if text else 0

    def messages(self, messages: Messages) -> int:
        """Return about how many tokens the prompt of a conversation takes."""
        key = _key(messages)
        count = len(self._known)
        if count and key[:count] == self._known:
            return self._known_tokens + self._estimated(key[count:])
        return self._estimated(key)

    def learn(self, messages: Messages, prompt_tokens: int) -> None:
        """Take note of how long the prompt of a conversation was."""
        key = _key(messages)
        size = sum(len(content.encode()) for _, content in key)
        left = prompt_tokens - _TOKENS_PER_MESSAGE * len(key)
        if size >= _LEAST_BYTES and left > 0:
            self._bytes_per_token = max(size / left, 1.0)
        self._known, self._known_tokens = key, prompt_tokens

    def _estimated(self, key: Sequence[tuple[str, str]]) -> int:
        return sum(self.text(content) + _TOKENS_PER_MESSAGE for _, content in key)


def _key(messages: Sequence[Mapping[str, Any]]) -> Key:
    return tuple((str(message["role"]), str(message["content"])) for message in messages)
