"""Grammars, JSON schemas and biases on answers of a real model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localllm.engine import FinishReason, LlamaEngine, SamplingOptions
from localllm.engine.constraints import Constraints
from localllm.events import Event, Notice

QUESTION = [{"role": "user", "content": "What is GGUF?"}]
GREEDY = SamplingOptions(temperature=0, max_tokens=60)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer"},
        "kind": {"enum": ["model", "person"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(demo_path: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(demo_path) as engine:
        yield engine


def schema(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("n", [1, 2])
def test_answers_follow_a_schema(engine: LlamaEngine, temperature: float, n: int) -> None:
    options = SamplingOptions(
        json_schema=schema(PERSON), temperature=temperature, max_tokens=120, seed=4, n=n
    )
    for answer in engine.answers(QUESTION, options):
        assert answer.finish_reason is FinishReason.STOP
        found = json.loads(answer.text)
        assert set(found) == {"name", "age", "kind"}
        assert isinstance(found["age"], int)
        assert found["kind"] in ("model", "person")
        assert len(found["name"]) <= 12


def test_answers_follow_a_grammar(engine: LlamaEngine) -> None:
    options = GREEDY.changed(grammar='root ::= "yes" | "no" | [0-9]{3} "-" [a-c]+', max_tokens=30)
    assert re.fullmatch(r"yes|no|\d{3}-[a-c]+", engine.answer(QUESTION, options).text)


def test_a_grammar_that_allows_what_was_said_changes_nothing(engine: LlamaEngine) -> None:
    plain = engine.answer(QUESTION, GREEDY).text
    assert engine.answer(QUESTION, GREEDY.changed(grammar="root ::= [^\\x00]*")).text == plain


def test_constants_with_quotes_and_other_letters(engine: LlamaEngine) -> None:
    wanted = 'say "hi" \\ é 😀'
    options = GREEDY.changed(json_schema=schema({"const": wanted}), max_tokens=80)
    assert json.loads(engine.answer(QUESTION, options).text) == wanted


def test_keywords_that_cannot_be_enforced_are_told(demo_path: Path) -> None:
    events: list[Event] = []
    with LlamaEngine(demo_path, emit=events.append) as engine:
        options = GREEDY.changed(json_schema=schema({"type": "integer", "minimum": 5}), max_tokens=3)
        for _ in range(2):
            engine.answer(QUESTION, options)
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.topic for notice in notices] == ["schema-keywords"]
    assert "`minimum`" in notices[0].message


def test_biases_ban_and_force(engine: LlamaEngine) -> None:
    plain = engine.answer(QUESTION, GREEDY)
    first = engine._prompts.text_tokens("GGUF")[0]
    banned = engine.answer(QUESTION, GREEDY.changed(logit_bias=[[first, -100]]))
    assert plain.text.startswith("GGUF")
    assert not banned.text.startswith("GGUF")
    end = engine._model.eos
    assert engine.answer(QUESTION, GREEDY.changed(logit_bias=[[end, 100]])).text == ""


def test_a_text_stands_for_each_of_its_tokens(engine: LlamaEngine) -> None:
    text = "GGUF is the"
    biases = Constraints(engine._model, engine._prompts, lambda _: None).biases(
        SamplingOptions(logit_bias=((text, -3.0), (7, 1.0)))
    )
    tokens = set(engine._prompts.text_tokens(text))
    assert len(tokens) > 1
    assert biases == (*((token, -3.0) for token in sorted(tokens)), (7, 1.0))
