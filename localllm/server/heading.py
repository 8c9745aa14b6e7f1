"""What every answer begins with: its id, when it was made, by which model; and what it took."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from localllm.batching import Usage

_SHOWN_DIGITS = 16


@dataclass(frozen=True)
class Heading:
    """The beginning of one answer and of all its chunks; `kind` is in front of the id.

    `fingerprint` changes with the model and how it is run.
    """

    kind: str
    model: str
    fingerprint: str
    created: int = field(default_factory=lambda: int(time.time()))
    number: str = field(default_factory=lambda: secrets.token_hex(12))

    def over(self, name: str, **fields: Any) -> dict[str, Any]:
        """Return the object `name` of the API with `fields` in it."""
        return {
            "id": f"{self.kind}-{self.number}",
            "object": name,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"fp_{self.fingerprint[:_SHOWN_DIGITS]}",
            **fields,
        }


def usage_of(usages: Iterable[Usage]) -> dict[str, Any]:
    """Return the API's usage of all requests together."""
    counted = list(usages)
    prompt = sum(usage.prompt_tokens for usage in counted)
    completion = sum(usage.completion_tokens for usage in counted)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in counted)},
    }
