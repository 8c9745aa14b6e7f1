"""Sampling options: ranges, contradictions, and their way through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.engine.options import SamplingOptions
from localllm.errors import UsageError


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": 2.1}, "temperature must be between 0 and 2, not 2.1"),
        ({"temperature": float("nan")}, "temperature must be between"),
        ({"top_p": -0.1}, "top_p must be between"),
        ({"max_tokens": 0}, "max_tokens must be between"),
        ({"seed": -1}, "seed must be between"),
        ({"stop": ("",)}, "stop text must not be empty"),
        ({"repeat_penalty": 0.0}, "repeat_penalty must be between"),
        ({"presence_penalty": 2.5}, "presence_penalty must be between -2 and 2"),
        ({"n": 0}, "n must be between 1 and 64"),
        ({"n": 65}, "n must be between"),
        ({"logit_bias": ((5, 101.0),)}, "logit_bias of 5 must be between -100 and 100"),
        ({"logit_bias": (("", 1.0),)}, "text in logit_bias must not be empty"),
        ({"logit_bias": ((-1, 1.0),)}, "token id in logit_bias"),
        ({"grammar": "root ::= x", "json_schema": "{}"}, "contradict"),
        ({"grammar": " \n"}, "the grammar is empty"),
        ({"json_schema": "{"}, "the JSON schema is not JSON"),
        ({"json_schema": "[1]"}, "the JSON schema is not an object"),
        ({"json_schema": "[" * 100_000}, "the JSON schema is"),
        ({"grammar": "x" * 2_000_000}, "the grammar is 2000000 characters long"),
    ],
)
def test_what_is_out_of_range_or_contradictory_is_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        SamplingOptions(**wrong)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_defaults_fill_only_what_is_not_given() -> None:
    options = SamplingOptions(temperature=0.0).over({"temperature": 0.7, "top_p": 0.9})
    assert (options.temperature, options.top_p) == (0.0, 0.9)


def test_only_what_differs_is_written() -> None:
    assert SamplingOptions().to_dict() == {}
    options = SamplingOptions(temperature=0.5, stop=("a", "b"), logit_bias=((5, 1.0), ("x", -2.0)), n=2)
    assert options.to_dict() == {
        "temperature": 0.5,
        "stop": ["a", "b"],
        "n": 2,
        "logit_bias": [[5, 1.0], ["x", -2.0]],
    }


texts = st.text(min_size=1, max_size=5)
some_options = st.builds(
    SamplingOptions,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(0, 1000),
    min_p=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 1000),
    repeat_penalty=st.none() | st.floats(0.01, 10),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    seed=st.none() | st.integers(0, 2**32 - 2),
    stop=st.lists(texts, max_size=5).map(tuple),
    n=st.integers(1, 64),
    logit_bias=st.lists(st.tuples(st.integers(0, 99) | texts, st.floats(-100, 100)), max_size=3).map(tuple),
    grammar=st.none() | st.just('root ::= "a"'),
)


@given(some_options)
def test_options_survive_json(options: SamplingOptions) -> None:
    assert SamplingOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"stop": "one"}, SamplingOptions(stop=("one",))),
        ({"stop": None, "n": None, "temperature": None}, SamplingOptions()),
        ({"logit_bias": {"50": -100, "word": 2}}, SamplingOptions(logit_bias=((50, -100.0), ("word", 2.0)))),
        ({"top_k": 40.0}, SamplingOptions(top_k=40)),
    ],
)
def test_what_requests_may_look_like(values: dict[str, Any], expected: SamplingOptions) -> None:
    assert SamplingOptions.from_dict(values) == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"heat": 1}, "unknown option `heat`"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": True}, "temperature must be a number"),
        ({"top_k": 1.5}, "top_k must be a whole number"),
        ({"stop": [1]}, "stop must be a list of texts"),
        ({"logit_bias": [1]}, "logit_bias must pair"),
        ({"logit_bias": {"a": "b"}}, "logit_bias must pair"),
        ({"grammar": 5}, "grammar must be a text"),
        ({"temperature": 5}, "temperature must be between"),
    ],
)
def test_wrong_values_are_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SamplingOptions.from_dict(values)


def test_changing_some_leaves_the_others() -> None:
    options = SamplingOptions(temperature=0.5, stop=("a",))
    assert options.changed(temperature=1, stop=("b", "c")) == SamplingOptions(temperature=1, stop=("b", "c"))
    assert options.changed(temperature=None) == SamplingOptions(stop=("a",))
    assert options.changed() == options
    with pytest.raises(UsageError, match="unknown option"):
        options.changed(heat=1)
