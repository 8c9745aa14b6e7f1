"""What the server asks of an engine; `localllm.batching.BatchedEngine` is the one that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from localllm.batching import Delta, Embedding, GenerationRequest, Load, Prompt, Ticket
from localllm.errors import LocalLLMError

Deliver = Callable[[Delta], None]
Fail = Callable[[LocalLLMError], None]


class Engine(Protocol):
    """A model that answers several requests at once. Every method may be called from any thread."""

    @property
    def path(self) -> Path: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def template(self) -> str | None: ...
    @property
    def takes_tools(self) -> bool: ...
    @property
    def context_size(self) -> int: ...
    @property
    def load(self) -> Load: ...

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Prompt: ...

    def text_prompt(self, text: str) -> tuple[int, ...]: ...

    def token_prompt(self, tokens: Sequence[int]) -> tuple[int, ...]: ...

    def embedding_prompt(self, text: str) -> tuple[int, ...]: ...

    def text_of(self, tokens: Sequence[int]) -> str: ...

    def submit(self, request: GenerationRequest, deliver: Deliver, fail: Fail) -> Ticket: ...

    def embed(self, prompts: Sequence[Sequence[int]]) -> Embedding: ...

    def close(self, grace_seconds: float = 0.0) -> None: ...


OpenEngine = Callable[[str], Engine]  # for a reference as the user wrote it; raises LocalLLMError
