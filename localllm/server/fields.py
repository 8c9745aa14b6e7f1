"""The fields that requests for text have in common, with the types they must have (pydantic).

A field that is not known, or cannot be done, is an error with its name; what clients send by default and
cannot change an answer is taken and has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from localllm.engine.options import MAX_SEED, SamplingOptions
from localllm.errors import UsageError
from localllm.server.api_error import ApiError, unsupported

_RANDOM_SEED = -1  # what llama.cpp's clients send for none
_MAX_STOPS = 64
_MAX_BIASES = 4096
_MISSING = "missing"
_UNKNOWN = "extra_forbidden"
Place = tuple[int | str, ...]


class Fields(BaseModel):
    """A part of a request. Numbers are numbers and texts are texts: nothing is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the request that `values` are. Raise ApiError with the field that is wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _api_error(error) from None


class StreamOptions(Fields):
    """`include_obfuscation` pads chunks against listeners on the wire; here there is none to pad against."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SamplingFields(Fields):
    """How an answer is to be made, by the names of OpenAI's API and llama.cpp's for what that lacks."""

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None
    grammar: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    # fields by another name than that of SamplingOptions, for the errors of that
    RENAMED: ClassVar[Mapping[str, str]] = {}

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, **more: Any) -> SamplingOptions:
        """Return the sampling options this asks for. Raise ApiError for values out of range."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options needs `stream` to be true", param="stream_options")
        if isinstance(self.stop, list) and len(self.stop) > _MAX_STOPS:
            raise ApiError(400, f"stop holds more than {_MAX_STOPS} texts", param="stop")
        if len(self.logit_bias or {}) > _MAX_BIASES:
            raise ApiError(400, f"logit_bias holds more than {_MAX_BIASES} tokens", param="logit_bias")
        values = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repeat_penalty": self.repeat_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "seed": _seed(self.seed),
            "stop": self.stop,
            "n": self.n,
            "logit_bias": self.logit_bias,
            "grammar": self.grammar,
            **more,
        }
        try:
            return SamplingOptions.from_dict(
                {name: value for name, value in values.items() if value is not None}
            )
        except UsageError as error:
            raise ApiError(400, error.message, param=self._param(error.message)) from None

    def _param(self, message: str) -> str | None:
        """Return the field that an error is about: the message begins with its name."""
        name = next(
            (word for word in message.split()[:3] if word in SamplingOptions.__dataclass_fields__), None
        )
        if name is None and "stop text" in message:
            name = "stop"
        if name is None and "logit_bias" in message:
            name = "logit_bias"
        return None if name is None else self.RENAMED.get(name, name)


def require_absent(values: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Raise ApiError for the first of `values` that is not null, with the reason why it cannot be done."""
    for name, reason in reasons.items():
        if values.get(name) is not None:
            raise unsupported(name, f"{name} is not supported: {reason}")


def written(place: Place) -> str:
    """Return a place in a request as people write it: `messages[0].content`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _seed(seed: int | None) -> int | None:
    """Return the seed in the range of llama.cpp's; the API allows any whole number."""
    return None if seed is None or seed == _RANDOM_SEED else seed % (MAX_SEED + 1)


def _api_error(error: ValidationError) -> ApiError:
    """Return the API's error for the first thing that is wrong; unknown fields are told last."""
    found = sorted(error.errors(include_url=False, include_input=False), key=lambda e: e["type"] == _UNKNOWN)
    first = found[0]
    param = written(_named(first["loc"]))
    if first["type"] == _UNKNOWN:
        return ApiError(400, f"unknown field `{param}`", param=param, code="unknown_parameter")
    if first["type"] == _MISSING:
        return ApiError(400, f"`{param}` is missing", param=param, code="missing_required_parameter")
    said = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"`{param}`: {said}" if param else said, param=param or None, code="invalid_value")


def _named(place: Place) -> Place:
    """Return a place without the names of types that pydantic puts behind a field of several."""
    return tuple(
        step for step in place if isinstance(step, int) or (step.isidentifier() and step not in _TYPES)
    )


_TYPES = {"str", "bool", "int", "float", "dict"}
