"""From options to the body of a request, and what of it a server may refuse (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from localllm.engine.base import Messages
from localllm.engine.options import SamplingOptions
from localllm.errors import UsageError

# options → fields of the Chat Completions API with the same meaning
_DOCUMENTED = ("temperature", "top_p", "max_tokens", "presence_penalty", "frequency_penalty", "seed", "n")
EXTRAS = ("top_k", "min_p", "repeat_penalty", "grammar")
_NEEDED = ("model", "messages", "stream", "response_format", "grammar", "logit_bias", "stop", "n")
_OTHER_NAMES = {"max_tokens": "max_completion_tokens"}  # what newer models of OpenAI want


def request_body(
    model: str, messages: Messages, options: SamplingOptions, extras: Mapping[str, str]
) -> dict[str, Any]:
    """Return the body of a request; `extras` are the server's names for what the API does not have.

    What nobody chose is left to the server. Raise UsageError for what no server takes.
    """
    given = options.to_dict()
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m["role"], "content": m["content"]} for m in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body |= {name: given[name] for name in _DOCUMENTED if name in given}
    body |= {extras[name]: given[name] for name in EXTRAS if name in given and name in extras}
    if options.stop:
        body["stop"] = list(options.stop)
    if options.logit_bias:
        body["logit_bias"] = _biases(options)
    if options.json_schema is not None:
        schema = {"name": "answer", "schema": json.loads(options.json_schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def missing_extras(options: SamplingOptions, extras: Mapping[str, str]) -> list[str]:
    """Return the options that a server has no name for."""
    given = options.to_dict()
    return [name for name in EXTRAS if name in given and name not in extras]


def given_extras(options: SamplingOptions) -> list[str]:
    """Return the options given that are no part of the API."""
    given = options.to_dict()
    return [name for name in EXTRAS if name in given]


def refused_field(reason: str, body: Mapping[str, Any]) -> str | None:
    """Return the field of a request that a server's refusal names, if there is one that is not needed."""
    words = set(re.findall(r"\w+", reason))
    return next((name for name in body if name in words and name not in _NEEDED), None)


def without(body: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return a request without a field, or with it under its other name."""
    rest = {name: value for name, value in body.items() if name != field}
    other = _OTHER_NAMES.get(field)
    return {**rest, other: body[field]} if other else rest


def is_renamed(field: str) -> bool:
    """Tell whether `without` gives a field another name instead of leaving it out."""
    return field in _OTHER_NAMES


def _biases(options: SamplingOptions) -> dict[str, float]:
    texts: Sequence[str] = [token for token, _ in options.logit_bias if isinstance(token, str)]
    if texts:
        raise UsageError(
            f"a server takes token ids in logit_bias, not texts such as `{texts[0][:40]}`",
            hint="give the ids of the tokens",
        )
    return {str(token): bias for token, bias in options.logit_bias}
