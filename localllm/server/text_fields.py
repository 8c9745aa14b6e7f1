"""Requests for a legacy completion and for embeddings, as the API documents them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from localllm.engine.options import MAX_ANSWERS, SamplingOptions
from localllm.server.api_error import ApiError, unsupported
from localllm.server.fields import Fields, SamplingFields

_DEFAULT_MAX_TOKENS = 16  # the API's
_MOST_PROMPTS = 64
_MOST_INPUTS = 2048

Texts = str | list[str] | list[int] | list[list[int]]
Prompt = str | list[int]


class TextFields(SamplingFields):
    """A legacy completion: a prompt, or several, to be continued as they are."""

    prompt: Texts
    max_tokens: int | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool | None = None
    best_of: int | None = Field(default=None, ge=1, le=MAX_ANSWERS)
    suffix: str | None = None

    def options(self) -> SamplingOptions:
        """Return the sampling options of one prompt. Raise ApiError."""
        if self.suffix:
            raise unsupported(
                "suffix", "suffix is not supported: models continue a prompt, they fill no gaps"
            )
        if self.echo and self.logprobs is not None:
            raise unsupported(
                "echo", "echo with logprobs is not supported: prompts have no probabilities here"
            )
        if self.best_of is not None and self.best_of < self.answers:
            raise ApiError(400, "best_of must not be less than n", param="best_of")
        if self.best_of is not None and self.best_of > self.answers and self.stream:
            raise ApiError(400, "best_of cannot be streamed", param="best_of")
        limit = _DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens
        return self.sampling(max_tokens=limit, n=self.best_of or self.n)

    @property
    def answers(self) -> int:
        """How many answers to each prompt are given."""
        return 1 if self.n is None else self.n

    @property
    def chooses(self) -> bool:
        """Whether more answers are made than given."""
        return self.best_of is not None and self.best_of > self.answers

    def prompts(self) -> list[Prompt]:
        """Return each prompt, a text or tokens. Raise ApiError."""
        return _each("prompt", self.prompt, _MOST_PROMPTS)


class EmbeddingFields(Fields):
    """Texts whose meaning is wanted as vectors."""

    model: str | None = None
    input: Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None

    def inputs(self) -> list[Prompt]:
        """Return each input, a text or tokens; none is empty. Raise ApiError."""
        return _each("input", self.input, _MOST_INPUTS)


def _each(name: str, given: Texts, most: int) -> list[Prompt]:
    """Return texts or lists of tokens one by one."""
    is_one = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    found: list[Any] = [given] if is_one else list(given)
    if not found or not all(found):
        raise ApiError(400, f"{name} is empty", param=name)
    if len(found) > most:
        raise ApiError(400, f"{name} holds more than {most} texts", param=name)
    return found
