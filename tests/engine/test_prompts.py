"""From messages to prompts: system roles, templates of one's own, models without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.engine import EngineOptions, LlamaEngine, SamplingOptions
from localllm.errors import GenerationError
from localllm.events import Event, Notice
from tests.tiny_gguf import build_tiny_gguf

SYSTEM = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "What is GGUF?"}
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)


def shown(engine: LlamaEngine, messages: list[dict[str, str]]) -> str:
    tokens = engine._prompts.tokens(messages)
    return b"".join(engine._model.piece(token, special=True) for token in tokens).decode()


def test_a_system_message_goes_where_the_template_wants_it(demo_path: Path) -> None:
    events: list[Event] = []
    with LlamaEngine(demo_path, emit=events.append) as engine:
        assert shown(engine, [SYSTEM, QUESTION]).startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert events == []


def test_it_is_folded_where_the_template_refuses_it(demo_path: Path) -> None:
    events: list[Event] = []
    with LlamaEngine(demo_path, EngineOptions(template=NO_SYSTEM), emit=events.append) as engine:
        prompt = shown(engine, [SYSTEM, QUESTION])
        assert prompt == "<|im_start|>user\nBe brief.\n\nWhat is GGUF?<|im_end|>\n"
        shown(engine, [SYSTEM, {"role": "user", "content": "Again"}])
    assert [event.topic for event in events if isinstance(event, Notice)] == ["system-folded"]  # told once


def test_the_templates_own_words_reach_the_user(demo_path: Path) -> None:
    options = EngineOptions(template="{{ raise_exception('roles must alternate user/assistant') }}")
    with LlamaEngine(demo_path, options) as engine, pytest.raises(GenerationError) as caught:
        engine.answer([QUESTION])
    assert "rejects the conversation: roles must alternate user/assistant" in caught.value.message


def test_a_template_of_ones_own_replaces_the_models(demo_path: Path) -> None:
    with LlamaEngine(demo_path, EngineOptions(template="Q: {{ messages[-1].content }} A:")) as engine:
        assert engine.has_template
        assert shown(engine, [QUESTION]) == "Q: What is GGUF? A:"


def test_a_model_without_a_template_continues_the_text(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "base.gguf", width=64, layers=1)
    with LlamaEngine(path) as engine:
        assert not engine.has_template
        tokens = engine._prompts.tokens([SYSTEM, {"role": "user", "content": "abc</s>"}])
        assert tokens[0] == engine._model.bos
        assert tokens.count(engine._model.eos) == 0
        assert shown(engine, [{"role": "user", "content": "abc"}]) == "<s> abc"
        assert (
            engine.answer([{"role": "user", "content": "abc"}], SamplingOptions(max_tokens=3)).text
            is not None
        )


def test_the_beginning_of_the_text_comes_once(spm_path: Path) -> None:
    with LlamaEngine(spm_path) as engine:
        tokens = engine._prompts.tokens([QUESTION])  # its template writes it itself
        assert tokens.count(engine._model.bos) == 1
        assert tokens[0] == engine._model.bos


def test_tokens_are_counted_as_they_are_read(demo_path: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        messages = [SYSTEM, QUESTION]
        answer = engine.answer(messages, SamplingOptions(max_tokens=1))
        assert engine.count_tokens(messages) == answer.statistics.prompt_tokens
        assert engine.count_text("") == 0
        assert engine.count_text("What is GGUF?") == len(engine._prompts.text_tokens("What is GGUF?")) > 2
        assert engine.count_text("<|im_end|>") > 1  # a text, no token


def test_the_same_messages_are_not_rendered_twice(demo_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LlamaEngine(demo_path) as engine:
        engine.count_tokens([QUESTION])
        monkeypatch.setattr(engine._prompts._template, "render", lambda *_: pytest.fail("rendered again"))
        engine.count_tokens([dict(QUESTION)])


@pytest.mark.parametrize(
    ("template", "opens"),
    [
        ("{{ messages[-1].content }}\n<think>\n", True),
        ("{{ messages[-1].content }}\n", False),
        ("{{ messages[-1].content }}\n<think>\n\n</think>\n\n", False),
        ("{{ raise_exception('never') }}", False),
    ],
)
def test_templates_that_open_the_reasoning_are_known(demo_path: Path, template: str, opens: bool) -> None:
    with LlamaEngine(demo_path, EngineOptions(template=template)) as engine:
        assert engine.opens_reasoning is opens


def test_a_question_that_ends_with_a_tag_opens_nothing(demo_path: Path) -> None:
    with LlamaEngine(demo_path, EngineOptions(template="{{ messages[-1].content }}")) as engine:
        engine.answer([{"role": "user", "content": "<think>"}], SamplingOptions(max_tokens=1))
        assert not engine.opens_reasoning
