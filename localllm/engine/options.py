"""What a caller may ask of a completion, with the ranges checked once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from localllm.errors import UsageError

MAX_SEED = 2**32 - 2
MAX_ANSWERS = 64
_MAX_INTEGER = 2**31 - 1
_MAX_TEXT = 1024 * 1024  # characters of a grammar or a schema

Bias = tuple[int | str, float]


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling settings; None means "what the model file recommends, else localllm's default".

    `temperature` 0 to 2 (0 is greedy), `top_p` and `min_p` 0 to 1, `top_k` tokens (0: no limit),
    `max_tokens` at least 1 (None: until the context is full), `presence_penalty` and
    `frequency_penalty` -2 to 2, `repeat_penalty` above 0, `seed` for repeatable answers, `stop`
    texts that end the answer and are not part of it, `n` answers (each with a seed of its own).

    `logit_bias` pairs a token id, or a text, with what is added to the logit, -100 to 100; a text stands
    for each of the tokens it is made of. `grammar` is GBNF, `json_schema` the JSON text of a schema; the
    answer follows it. Raise UsageError for what is out of range or contradictory.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logit_bias: tuple[Bias, ...] = ()
    grammar: str | None = None
    json_schema: str | None = None

    def __post_init__(self) -> None:
        _check_range("temperature", self.temperature, 0, 2)
        _check_range("top_p", self.top_p, 0, 1)
        _check_range("min_p", self.min_p, 0, 1)
        _check_range("top_k", self.top_k, 0, _MAX_INTEGER)
        _check_range("max_tokens", self.max_tokens, 1, _MAX_INTEGER)
        _check_range("presence_penalty", self.presence_penalty, -2, 2)
        _check_range("frequency_penalty", self.frequency_penalty, -2, 2)
        _check_range("repeat_penalty", self.repeat_penalty, 0.01, 10)
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("n", self.n, 1, MAX_ANSWERS)
        if any(not text for text in self.stop):
            raise UsageError("a stop text must not be empty")
        for token, bias in self.logit_bias:
            _check_bias(token, bias)
        _check_constraint(self.grammar, self.json_schema)

    def changed(self, **changes: Any) -> SamplingOptions:
        """Return these options with some replaced. Raise UsageError for unknown names or wrong values."""
        return self.from_dict({**self.to_dict(), **_plain(changes)})

    def over(self, defaults: Mapping[str, Any]) -> SamplingOptions:
        """Return these options with every None replaced from `defaults`."""
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(self, **missing)

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults as JSON-compatible values."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return _plain({name: value for name, value in found.items() if value != _DEFAULT[name]})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SamplingOptions:
        """Rebuild what `to_dict` returned. Raise UsageError for unknown names and wrong types.

        `stop` may also be one text, and `logit_bias` the object of a request: token ids or texts to numbers.
        """
        unknown = next((name for name in values if name not in _READERS), None)
        if unknown is not None:
            raise UsageError(f"unknown option `{unknown}`", hint=f"known: {', '.join(_READERS)}")
        return cls(**{name: _READERS[name](name, value) for name, value in values.items()})


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{name} must be between {low:g} and {high:g}, not {value:g}")


def _check_bias(token: int | str, bias: float) -> None:
    if isinstance(token, int):
        _check_range("a token id in logit_bias", token, 0, _MAX_INTEGER)
    elif not token:
        raise UsageError("a text in logit_bias must not be empty")
    _check_range(f"logit_bias of {token!r}", bias, -100, 100)


def _check_constraint(grammar: str | None, schema: str | None) -> None:
    if grammar is not None and schema is not None:
        raise UsageError("a grammar and a JSON schema contradict each other", hint="give one of them")
    for name, text in (("the grammar", grammar), ("the JSON schema", schema)):
        if text is not None and not text.strip():
            raise UsageError(f"{name} is empty")
        if text is not None and len(text) > _MAX_TEXT:
            raise UsageError(f"{name} is {len(text)} characters long, more than {_MAX_TEXT}")
    if schema is not None and not isinstance(_parsed(schema), dict | bool):
        raise UsageError("the JSON schema is not an object")


def _parsed(schema: str) -> Any:
    try:
        return json.loads(schema)
    except ValueError as error:
        raise UsageError(f"the JSON schema is not JSON: {error}") from None
    except RecursionError:
        raise UsageError("the JSON schema is nested too deeply") from None


# reading --------------------------------------------------------------------------------------


def _number(name: str, value: Any) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise UsageError(f"{name} must be a number, not {value!r}")


def _integer(name: str, value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise UsageError(f"{name} must be a whole number, not {value!r}")


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise UsageError(f"{name} must be a text, not {value!r}")


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise UsageError(f"{name} must be a list of texts, not {value!r}")


def _biases(name: str, value: Any) -> tuple[Bias, ...]:
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = [(int(key) if str(key).isdecimal() else key, bias) for key, bias in value.items()]
    if isinstance(value, list | tuple) and all(_is_bias(pair) for pair in value):
        return tuple((token, float(bias)) for token, bias in value)
    raise UsageError(f"{name} must pair token ids or texts with numbers, not {value!r}")


def _is_bias(pair: Any) -> bool:
    if not (isinstance(pair, list | tuple) and len(pair) == 2):
        return False
    token, bias = pair
    return isinstance(token, int | str) and isinstance(bias, int | float) and not isinstance(bias, bool)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the lists that JSON has in place of tuples."""
    return {name: _listed(value) for name, value in values.items()}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _required(read: Callable[[str, Any], Any], default: Any) -> Callable[[str, Any], Any]:
    """Return a reader that takes null for the default."""
    return lambda name, value: default if value is None else read(name, value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "temperature": _number,
    "top_p": _number,
    "top_k": _integer,
    "min_p": _number,
    "max_tokens": _integer,
    "repeat_penalty": _number,
    "presence_penalty": _required(_number, 0.0),
    "frequency_penalty": _required(_number, 0.0),
    "seed": _integer,
    "stop": _texts,
    "n": _required(_integer, 1),
    "logit_bias": _biases,
    "grammar": _text,
    "json_schema": _text,
}
_DEFAULT = {field.name: field.default for field in fields(SamplingOptions)}
