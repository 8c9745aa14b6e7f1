"""Sampling options as people write them: the same on the command line and behind `/set`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from localllm.cli.chat.sampling import SAMPLING_SETTINGS, changed, find_setting, sampling_options, shown
from localllm.engine.options import SamplingOptions
from localllm.errors import LocalLLMError, UsageError


def test_every_sampling_option_has_its_words() -> None:
    assert set(SAMPLING_SETTINGS) == {field.name for field in fields(SamplingOptions)}


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("temperature", ["0.5"], 0.5),
        ("top_k", ["40"], 40),
        ("stop", ["a b", "c"], ("a b", "c")),
        ("logit_bias", ["42=-100", "maybe=1.5"], ((42, -100.0), ("maybe", 1.5))),
        ("logit_bias", ['"7"=2', "a=b=3"], (("7", 2.0), ("a=b", 3.0))),
        ("n", ["3"], 3),
        ("seed", ["7"], 7),
    ],
)
def test_words_become_values_and_go_back(name: str, words: list[str], value: Any) -> None:
    given = sampling_options({name: words if isinstance(value, tuple) else words[0]})
    assert getattr(given, name) == value
    setting = find_setting(name.replace("_", "-"))
    assert changed(SamplingOptions(), setting, words) == given
    assert changed(given, setting, ["default"]) == SamplingOptions()


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    assert (
        sampling_options({"json_schema": str(tmp_path / "schema.json")}).json_schema == '{"type": "object"}'
    )


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("temperature", "hot", "temperature must be a number, not `hot`"),
        ("temperature", "3", "temperature must be between 0 and 2, not 3"),
        ("n", "1.5", "n must be a whole number, not `1.5`"),
        ("logit_bias", "x", "logit_bias must be ID=VALUE or TEXT=VALUE, not `x`"),
        ("logit_bias", "=3", "logit_bias must be ID=VALUE or TEXT=VALUE, not `=3`"),
        ("grammar", "/no/such", "the file of grammar is not there: /no/such"),
    ],
)
def test_both_ways_complain_alike(name: str, word: str, message: str) -> None:
    with pytest.raises(LocalLLMError) as caught:
        changed(SamplingOptions(), find_setting(name), [word])
    assert caught.value.message == message
    with pytest.raises(LocalLLMError) as caught:
        sampling_options({name: [word] if SAMPLING_SETTINGS[name].is_list else word})
    assert caught.value.message == message.replace(name, f"`--{name.replace('_', '-')}`", 1)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find_setting("topp")
    assert caught.value.hint == "did you mean top-p?"
    with pytest.raises(UsageError) as caught:
        find_setting("xyzzy")
    assert "there are temperature" in str(caught.value.hint)


def test_values_are_shown_as_they_are_typed() -> None:
    assert shown("stop", ("a b", "c")) == '"a b" "c"'
    assert shown("logit_bias", ((42, -100.0), ("x", 1.5))) == '42=-100 "x"=1.5'
    assert shown("temperature", 0.7) == "0.7"
    assert shown("grammar", "root ::= x") == "10 characters"
    assert shown("seed", None) == "random"
