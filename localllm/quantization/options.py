"""What a user can ask of the quantizer beside the level, and how that is typed."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from localllm.errors import UsageError
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key

# what ggml stores weights in; the rest are integers, or for computing only
_NOT_FOR_WEIGHTS = {"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K", "NVFP4"}
_LARGEST_FLOAT32 = 3.4028234663852886e38
_MAX_TEXT_BYTES = 127  # llama_model_kv_override keeps 128 with the terminating zero
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True)
class Override:
    """A metadata value to set in the output; `kind` is int, float, bool or str."""

    key: str
    kind: str
    value: int | float | bool | str


@dataclass(frozen=True)
class QuantizationOptions:
    """How to quantize; the defaults are llama.cpp's own.

    `tensor_types`: (regular expression, type name) pairs, the first that is found in a tensor's name decides.
    `output_type`, `token_embedding_type`: types for these tensors. `pure`: one type for all matrices.
    `leave_output`: keep the output tensor as it is. `allow_requantize`: also quantize what is quantized.
    `keep_split`: as many files as the source has. `prune_layers`: layers to leave out, ascending, from 0.
    """

    tensor_types: tuple[tuple[str, str], ...] = ()
    output_type: str | None = None
    token_embedding_type: str | None = None
    pure: bool = False
    leave_output: bool = False
    allow_requantize: bool = False
    keep_split: bool = False
    prune_layers: tuple[int, ...] = ()
    overrides: tuple[Override, ...] = ()

    def for_dry_run(self) -> dict[str, Any]:
        """Return what decides about types, as `native.dry_run` takes it."""
        decisive = asdict(self)
        decisive["overrides"] = [(each.key, each.kind, each.value) for each in self.overrides]
        return decisive

    def risks(self) -> list[str]:
        """Return, as they are typed, the options that can make something llama.cpp does not load."""
        given = {
            "`--prune-layers`": self.prune_layers,
            "`--tensor-type`": self.tensor_types,
            "`--output-type`": self.output_type,
            "`--token-embedding-type`": self.token_embedding_type,
        }
        overrides = [f"`--override-kv {override.key}=…`" for override in self.overrides]
        return [*overrides, *(option for option, value in given.items() if value)]


def parse_type(text: str) -> str:
    """Return a tensor type's name as the tables have it. Raise UsageError for one that holds no weights."""
    name = text.strip().upper()
    if name not in TENSOR_TYPES_BY_NAME or name in _NOT_FOR_WEIGHTS:
        known = ", ".join(sorted(set(TENSOR_TYPES_BY_NAME) - _NOT_FOR_WEIGHTS))
        raise UsageError(f"`{text}` is not a tensor type", hint=f"one of {known}")
    return name


def parse_tensor_types(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read REGEX=TYPE pairs. Raise UsageError for another form."""
    return tuple(map(_tensor_type, texts))


def parse_layers(texts: Iterable[str]) -> tuple[int, ...]:
    """Read layer numbers such as `3,5-7`; return them ascending. Raise UsageError for another form."""
    layers: set[int] = set()
    for part in (part.strip() for text in texts for part in text.split(",")):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise UsageError(f"`{part}` is not a layer", hint="for example `--prune-layers 20,22-24`")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"`{part}` is not a range of layers", hint="the smaller number comes first")
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))


def parse_overrides(texts: Iterable[str]) -> tuple[Override, ...]:
    """Read KEY=TYPE:VALUE as llama.cpp's tools take it. Raise UsageError for another form or range."""
    return tuple(map(_override, texts))


def _tensor_type(text: str) -> tuple[str, str]:
    pattern, equals, kind = text.rpartition("=")
    if not equals or not pattern:
        raise UsageError(f"`{text}` is not REGEX=TYPE", hint="for example `--tensor-type ffn_down=Q6_K`")
    try:
        pattern.encode()
        with warnings.catch_warnings(action="ignore"):  # C++ has classes such as [[:digit:]]
            re.compile(pattern)
    except (re.error, UnicodeEncodeError) as error:
        reason = error if isinstance(error, re.error) else "not valid Unicode"
        raise UsageError(f"`{pattern}` is not a regular expression: {reason}") from None
    return pattern, parse_type(kind)


def _override(text: str) -> Override:
    key, equals, rest = text.partition("=")
    kind, colon, value = rest.partition(":")
    readers: dict[str, Callable[[str], int | float | bool | str]] = {
        "int": _integer,
        "float": _number,
        "bool": _boolean,
        "str": _text,
    }
    if not (key and equals and colon and kind in readers and _bytes_in(key)):
        raise UsageError(
            f"`{text}` is not KEY=TYPE:VALUE",
            hint="TYPE is int, float, bool or str: `--override-kv tokenizer.ggml.add_bos_token=bool:false`",
        )
    if _bytes_in(key) > _MAX_TEXT_BYTES:
        raise UsageError(f"the key `{key[:40]}…` is longer than {_MAX_TEXT_BYTES} bytes")
    if key.startswith("split.") or key == Key.ALIGNMENT:
        raise UsageError(f"`{key}` says how the file is laid out and cannot be set")
    try:
        return Override(key, kind, readers[kind](value))
    except ValueError as error:
        raise UsageError(f"`{value}` in `{text}` is not {error}") from None


def _integer(text: str) -> int:
    value = int(text) if re.fullmatch(r"\+?\d{1,10}", text) else -1
    if not 0 <= value < 2**32:  # llama.cpp stores the absolute value, in 32 bits
        raise ValueError("an integer from 0 to 4294967295")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST_FLOAT32:
        raise ValueError("a number that 32 bits can hold")
    return value


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _text(text: str) -> str:
    if text and not 0 < _bytes_in(text) <= _MAX_TEXT_BYTES:
        raise ValueError(f"a text of at most {_MAX_TEXT_BYTES} bytes")
    return text


def _bytes_in(text: str) -> int:
    """Return how long a text is in UTF-8; 0 when it cannot be written in that."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0
