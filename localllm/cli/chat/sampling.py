"""The sampling options as people write them, on the command line and behind `/set`: one table for both.

What a value may be is decided by SamplingOptions; here text becomes values, and values become text again.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.cli.chat.text_files import read_text_file
from localllm.engine.options import MAX_SEED, SamplingOptions
from localllm.errors import LocalLLMError, UsageError

DEFAULT_WORDS = ("default", "-")  # what takes an option back


@dataclass(frozen=True)
class SamplingSetting:
    """One option: `name` as SamplingOptions has it, `accepts` for people, how its words are read."""

    name: str
    accepts: str
    read: Callable[[str, Sequence[str]], Any]
    is_list: bool = False
    is_file: bool = False

    @property
    def flag(self) -> str:
        """Return the name as it is typed: `top-p`."""
        return self.name.replace("_", "-")


def _one(name: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        raise UsageError(f"{name} takes one value, not {len(words)}")
    return words[0]


def _number(name: str, words: Sequence[str]) -> float:
    word = _one(name, words)
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"{name} must be a number, not `{word}`") from None


def _integer(name: str, words: Sequence[str]) -> int:
    word = _one(name, words)
    try:
        return int(word)
    except ValueError:
        raise UsageError(f"{name} must be a whole number, not `{word}`") from None


def _texts(_name: str, words: Sequence[str]) -> list[str]:
    return list(words)


def _biases(name: str, words: Sequence[str]) -> list[tuple[int | str, float]]:
    return [_bias(name, word) for word in words]


def _bias(name: str, word: str) -> tuple[int | str, float]:
    token, sign, value = word.rpartition("=")
    try:
        bias = float(value)
    except ValueError:
        bias = None
    if not sign or not token or bias is None:
        raise UsageError(
            f"{name} must be ID=VALUE or TEXT=VALUE, not `{word}`",
            hint='such as `42=-100` or `maybe=-5`; a text of digits in quotes: `"42"=-5`',
        )
    if token.isascii() and token.isdigit():
        return int(token), bias
    quoted = len(token) > 2 and token[0] == token[-1] == '"'
    return token[1:-1] if quoted else token, bias


def _file(name: str, words: Sequence[str]) -> str:
    return read_text_file(Path(_one(name, words)).expanduser(), f"the file of {name}")


SAMPLING_SETTINGS: Mapping[str, SamplingSetting] = {
    setting.name: setting
    for setting in (
        SamplingSetting("temperature", "0 (always the likeliest) to 2", _number),
        SamplingSetting("top_p", "0 to 1: the share of probability to draw from", _number),
        SamplingSetting("top_k", "the most tokens to draw from; 0: no limit", _integer),
        SamplingSetting("min_p", "0 to 1: the least probability, times that of the likeliest", _number),
        SamplingSetting("max_tokens", "the longest answer in tokens", _integer),
        SamplingSetting("stop", "texts that end the answer", _texts, is_list=True),
        SamplingSetting("presence_penalty", "-2 to 2: against what was said at all", _number),
        SamplingSetting("frequency_penalty", "-2 to 2: against what was said often", _number),
        SamplingSetting("repeat_penalty", "above 1: against what was said lately", _number),
        SamplingSetting("n", "answers to a message", _integer),
        SamplingSetting("logit_bias", "ID=VALUE or TEXT=VALUE, -100 to 100", _biases, is_list=True),
        SamplingSetting("seed", f"0 to {MAX_SEED}: the same answer every time", _integer),
        SamplingSetting("json_schema", "a FILE with a JSON schema to follow", _file, is_file=True),
        SamplingSetting("grammar", "a FILE with a GBNF grammar to follow", _file, is_file=True),
    )
}


_NAME = re.compile(rf"(?<![\w`])(?:{'|'.join(SAMPLING_SETTINGS)})(?= (?:must|takes|is) )")


def find_setting(text: str) -> SamplingSetting:
    """Return the option called `text` (`top-p` or `top_p`). Raise UsageError with the nearest names."""
    name = text.strip().lstrip("-").lower().replace("-", "_")
    if name in SAMPLING_SETTINGS:
        return SAMPLING_SETTINGS[name]
    near = difflib.get_close_matches(name, SAMPLING_SETTINGS, n=1)
    flags = ", ".join(SAMPLING_SETTINGS[each].flag for each in near or SAMPLING_SETTINGS)
    hint = f"did you mean {flags}?" if near else f"there are {flags}"
    raise UsageError(f"there is no option `{text.strip()}`", hint=hint)


def sampling_options(given: Mapping[str, str | Sequence[str] | None]) -> SamplingOptions:
    """Return the options that the command line gives. Raise UsageError."""
    try:
        values = {
            name: SAMPLING_SETTINGS[name].read(name, [words] if isinstance(words, str) else words)
            for name, words in given.items()
            if words is not None and words != []
        }
        return SamplingOptions.from_dict(values)
    except LocalLLMError as error:
        error.message = _NAME.sub(
            lambda name: f"`--{SAMPLING_SETTINGS[name[0]].flag}`", error.message, count=1
        )
        raise


def changed(options: SamplingOptions, setting: SamplingSetting, words: Sequence[str]) -> SamplingOptions:
    """Return `options` with one read from `words`; `default` takes it back. Raise UsageError."""
    if len(words) == 1 and words[0] in DEFAULT_WORDS:
        return options.changed(**{setting.name: None})
    return options.changed(**{setting.name: setting.read(setting.name, words)})


def shown(name: str, value: Any) -> str:
    """Return the value of an option for people."""
    if value is None or value == ():
        return {"max_tokens": "until the context is full", "seed": "random"}.get(name, "none")
    if name == "stop":
        return " ".join(json.dumps(text, ensure_ascii=False) for text in value)
    if name == "logit_bias":
        return " ".join(
            f"{token if isinstance(token, int) else json.dumps(token)}={bias:g}" for token, bias in value
        )
    if name in ("grammar", "json_schema"):
        return f"{len(value)} characters"
    return f"{value:g}" if isinstance(value, float) else str(value)
