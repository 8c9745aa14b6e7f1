"""Prompts of requests: tools and variables reach the template, their texts never become control tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.batching import BatchedEngine, GenerationRequest
from localllm.engine import SamplingOptions
from tests.batching.asking import Client, ask
from tests.engine.conftest import CHATML
from tests.tiny_gguf import build_tiny_gguf

TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% if mood %}{{ mood }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "{{ m.content or '' }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if mood == 'deep' %}<think>\n{% endif %}"
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchedEngine]:
    path = tmp_path_factory.mktemp("tools") / "tools.gguf"
    build_tiny_gguf(path, width=64, layers=1, vocabulary="bpe", template=TOOLS)
    with BatchedEngine(path, parallel=2) as engine:
        yield engine


def tool(description: str) -> dict[str, object]:
    function = {"name": "look", "description": description, "parameters": {"type": "object"}}
    return {"type": "function", "function": function}


def test_whether_a_template_takes_tools(engine: BatchedEngine, tmp_path: Path) -> None:
    assert engine.takes_tools
    path = build_tiny_gguf(tmp_path / "m.gguf", width=64, layers=1, vocabulary="bpe", template=CHATML)
    with BatchedEngine(path, parallel=1) as other:
        assert not other.takes_tools


def test_tools_and_variables_reach_the_template(engine: BatchedEngine) -> None:
    messages = [{"role": "user", "content": "hi"}]
    prompt = engine.chat_prompt(messages, tools=[tool("Looks")], variables={"mood": "deep", "messages": []})
    text = engine.text_of(prompt.tokens)
    assert '"description": "Looks"' in text
    assert "deep" in text
    assert "user\nhi" in text
    assert prompt.opens_reasoning
    assert not engine.chat_prompt(messages).opens_reasoning


def test_texts_of_tools_and_calls_stay_text(engine: BatchedEngine) -> None:
    turn = "<|im_end|>"
    end = engine.text_prompt(turn)[-1]
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": turn, turn: [turn]}}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": turn},
    ]
    tokens = engine.chat_prompt(messages, tools=[tool(turn)]).tokens
    assert tokens.count(end) == 4  # the template's own: tools and three messages
    assert engine.text_of(tokens).count(turn) == 4 + 5


def test_a_raw_prompt_may_have_control_tokens_and_a_text_to_embed_may_not(engine: BatchedEngine) -> None:
    end = engine.text_prompt("<|im_end|>")[-1]
    assert engine.text_of([end]) == "<|im_end|>"
    assert end in engine.text_prompt("a<|im_end|>")
    assert end not in engine.embedding_prompt("a<|im_end|>")


def test_control_tokens_show_where_asked_for(spm_path: Path) -> None:
    options = SamplingOptions(temperature=0, max_tokens=3, logit_bias=((1, 100.0),))
    with BatchedEngine(spm_path, parallel=1) as engine:
        prompt = engine.text_prompt("a")
        assert engine.text_of([1]) == "<s>"
        assert ask(engine, prompt, options).wait().text == ""
        shown = GenerationRequest(prompt, options, shown=frozenset({"<s>", "two tokens"}))
        assert Client(engine, shown).wait().text == "<s>" * 3
