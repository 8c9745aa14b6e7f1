"""Tool calls: found in what models write, forced by a grammar, streamed, and sent back with their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.server.call_reader import Arguments, CallBegun, CallReader
from localllm.server.call_syntax import Call, CallSyntax, calls_in, syntax_of
from tests.server.asgi import Client, messages
from tests.server.conftest import TOOLS_TEMPLATE, Server
from tests.server.double import DoubleEngine

HERMES, MISTRAL, LLAMA, GRANITE = CallSyntax.HERMES, CallSyntax.MISTRAL, CallSyntax.LLAMA, CallSyntax.GRANITE
KNOWN = {"sum": {"properties": {"a": {"type": "integer"}, "note": {"type": "string"}}}}
SUM = Call("sum", '{"a": 1}')
ONE = '{"name": "sum", "arguments": {"a": 1}}'

WRITTEN: list[tuple[CallSyntax, str, list[Any]]] = [
    (HERMES, f"<tool_call>\n{ONE}\n</tool_call>", [SUM]),
    (
        HERMES,
        f"I add.\n\n<tool_call>\n{ONE}\n</tool_call>\n<tool_call>{ONE}</tool_call>",
        ["I add.", SUM, SUM],
    ),
    (HERMES, f"<tool_call>{ONE}</tool_call> Done.", [SUM, " Done."]),
    (HERMES, f"<tool_call>{ONE}", [SUM]),  # an end that is a control token is not shown
    (HERMES, "a <b> c <tool", ["a <b> c <tool"]),
    (HERMES, "<tool_call>no call</tool_call> after", ["<tool_call>no call</tool_call>", " after"]),
    (HERMES, '<tool_call>{"name": "sum", "arg', ['<tool_call>{"name": "sum", "arg']),
    (HERMES, f"<tool_call>{ONE}\n</tool_", [SUM]),  # cut by a limit
    (HERMES, "<tool_call>\n<function=sum>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>", [SUM]),
    (
        HERMES,
        "<tool_call><function=sum><parameter=note>\n1\n\n2\n</parameter></function></tool_call>",
        [Call("sum", '{"note": "1\\n\\n2"}')],
    ),
    (
        HERMES,
        "<tool_call><function=sum>what</function></tool_call>",
        ["<tool_call><function=sum>what</function></tool_call>"],
    ),
    (HERMES, ONE, [ONE]),  # without its marks it is text
    (MISTRAL, f"[TOOL_CALLS][{ONE}, {ONE}]", [SUM, SUM]),
    (MISTRAL, f"[TOOL_CALLS] [{ONE}]", [SUM]),
    (MISTRAL, f"[{ONE}]", [SUM]),
    (MISTRAL, 'Well.[TOOL_CALLS]sum[ARGS]{"a": 1}', ["Well.", SUM]),
    (MISTRAL, '[TOOL_CALLS]sum{"a": 1}[TOOL_CALLS]sum[CALL_ID]x[ARGS]{"a": 1}', [SUM, SUM]),
    (MISTRAL, "[1] is a footnote", ["[1] is a footnote"]),
    (MISTRAL, '[{"name": "unknown"}]', ['[{"name": "unknown"}]']),
    (GRANITE, f"<|tool_call|>[{ONE}, {ONE}]", [SUM, SUM]),
    (GRANITE, f"<|tool_call|>[{ONE}]<|/tool_call|>", [SUM]),
    (LLAMA, '{"name": "sum", "parameters": {"a": 1}}', [SUM]),
    (LLAMA, f"<|python_tag|>{ONE}; {ONE}", [SUM, SUM]),
    (LLAMA, '{"type": "function", "function": {"name": "sum", "arguments": "{\\"a\\": 1}"}}', [SUM]),
    (LLAMA, '{"name": "someone", "age": 3}', ['{"name": "someone", "age": 3}']),
    (LLAMA, '{"a": 1}', ['{"a": 1}']),
    (LLAMA, "Hello {", ["Hello {"]),
    (LLAMA, "<|python", ["<|python"]),
]


def joined(found: list[Any]) -> list[Any]:
    """Return what was found with neighbouring texts put together, and calls with their arguments."""
    whole: list[Any] = []
    for item in found:
        if isinstance(item, CallBegun):
            whole.append(Call(item.name, ""))
        elif isinstance(item, Arguments):
            whole[-1] = Call(whole[-1].name, whole[-1].arguments + item.text)
        elif whole and isinstance(item, str) and isinstance(whole[-1], str):
            whole[-1] += item
        else:
            whole.append(item)
    return whole


@pytest.mark.parametrize(("syntax", "text", "expected"), WRITTEN)
def test_calls_are_found_in_any_pieces(syntax: CallSyntax, text: str, expected: list[Any]) -> None:
    for size in (1, 2, 5, len(text)):
        reader = CallReader(syntax, KNOWN)
        found: list[Any] = []
        for at in range(0, len(text), size):
            found += reader.feed(text[at : at + size])
        assert joined([*found, *reader.finish()]) == joined(expected)


def test_arguments_come_as_they_are_written() -> None:
    reader = CallReader(HERMES, KNOWN)
    assert reader.feed('<tool_call>{"name": "sum", "arguments": {"a": "') == [
        CallBegun("sum"),
        Arguments('{"a": "'),
    ]
    assert reader.feed("}\\") == [Arguments("}\\")]
    assert reader.feed('"{"}') == [Arguments('"{"}')]
    assert reader.feed("}</tool_call>\nSo.") == ["\nSo."]
    assert reader.finish() == []


def test_text_is_not_held_back() -> None:
    reader = CallReader(HERMES, KNOWN)
    assert reader.feed("Hello") == ["Hello"]
    assert reader.feed(" wor") == [" wor"]
    assert CallReader(LLAMA, KNOWN).feed("Hi") == ["Hi"]


@pytest.mark.parametrize(
    ("template", "syntax"),
    [
        (TOOLS_TEMPLATE, HERMES),
        ("{{ '[TOOL_CALLS]' }}", MISTRAL),
        ("<|start_header_id|>{{ tools }}", LLAMA),
        ("", LLAMA),
        ("<|tool_call|>{{ tools }}", GRANITE),
        ("<｜tool▁calls▁begin｜>{{ tools }}", None),
    ],
)
def test_templates_tell_the_syntax(template: str, syntax: CallSyntax | None) -> None:
    assert syntax_of(template) is syntax


@pytest.mark.parametrize(
    ("file", "syntax"),
    [
        ("mistralrs_chat_templates/nousresearch_hermes2_pro_tool_use.jinja", HERMES),
        ("smollm/smollm3-3b/chat_template.jinja", HERMES),
        ("qwen/qwen3-sophgo/tokenizer_config.json", HERMES),
        ("mistralrs_chat_templates/mistral_nemo_tool_call.jinja", MISTRAL),
        ("mistral/mistral-common-chat-templates/v3.jinja", MISTRAL),
        ("assembled/llama-3.2/tokenizer_config.json", LLAMA),
        ("granite/tiny_granite_vision/tokenizer_config.json", GRANITE),
        ("mistralrs_chat_templates/deepseek_tool_call.jinja", None),
        ("assembled/gemma-4/chat_template.jinja", None),
    ],
)
def test_real_templates_tell_the_syntax(material: Path, file: str, syntax: CallSyntax | None) -> None:
    text = (material / file).read_text("utf-8")
    template = json.loads(text)["chat_template"] if file.endswith(".json") else text
    assert syntax_of(template) is syntax


def test_tools_are_refused_where_calls_would_not_be_understood() -> None:
    engine = DoubleEngine(template="<｜tool▁calls▁begin｜>{{ tools }}", takes_tools=True)
    answer = Client(engine).ask({**messages(), "tools": TOOLS})
    assert (answer.status, answer.error["param"]) == (400, "tools")
    assert Client(engine).ask(messages()).status == 200


def test_what_is_no_call() -> None:
    for text in ("", "[]", "1", "null", '{"name": 1}', '{"name": "f", "arguments": [1]}', "{" * 50_000):
        for syntax in CallSyntax:
            assert not calls_in(text, syntax, KNOWN)


# through the API, with what a model could say -------------------------------------------------

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "sum",
            "description": "Adds.",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        },
    }
]


def tool_engine(answer: str) -> DoubleEngine:
    return DoubleEngine(answer=answer, template=TOOLS_TEMPLATE, takes_tools=True)


def test_a_call_is_told_as_the_api_does() -> None:
    engine = tool_engine(f"<tool_call>{ONE}</tool_call>")
    answer = Client(engine).ask({**messages(), "tools": TOOLS}).json
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "sum", "arguments": '{"a": 1}'}
    assert call["type"] == "function"
    assert len(call["id"]) == 9
    assert engine.told[0]["tools"][0]["function"]["name"] == "sum"
    assert {"<tool_call>", "</tool_call>"} <= engine.asked[0].shown


def test_calls_are_streamed() -> None:
    engine = tool_engine(f"Yes. <tool_call>{ONE}</tool_call><tool_call>{ONE}</tool_call>")
    wish = {**messages(), "tools": TOOLS, "stream": True}
    choices = [event["choices"][0] for event in Client(engine).ask(wish).events]
    pieces = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    begun = [piece for piece in pieces if "id" in piece]
    assert [call["index"] for call in begun] == [0, 1]
    assert len({call["id"] for call in begun}) == 2
    for index in (0, 1):
        told = [piece["function"]["arguments"] for piece in pieces if piece["index"] == index]
        assert "".join(told) == '{"a": 1}'
        assert len(told) > 2
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Yes."
    assert choices[-1]["finish_reason"] == "tool_calls"
    only = Client(engine).ask({**wish, "parallel_tool_calls": False}).events
    told = [call for event in only for call in event["choices"][0]["delta"].get("tool_calls", [])]
    assert {call["index"] for call in told} == {0}


def test_no_tools_no_calls() -> None:
    engine = tool_engine(f"<tool_call>{ONE}</tool_call>")
    for more in ({}, {"tools": []}, {"tools": TOOLS, "tool_choice": "none"}):
        message = Client(engine).ask({**messages(), **more}).json["choices"][0]["message"]
        assert message["content"].startswith("<tool_call>")
        assert engine.told[-1]["tools"] is None


def test_results_go_back_to_the_model() -> None:
    engine = tool_engine("3")
    call = {"id": "abc", "type": "function", "function": {"name": "sum", "arguments": '{"a": 1}'}}
    said = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abc", "content": [{"type": "text", "text": "2"}]},
    ]
    assert Client(engine).ask({"messages": said, "tools": TOOLS}).status == 200
    _, asked, result = engine.told[0]["messages"]
    assert asked["tool_calls"][0]["function"] == {"name": "sum", "arguments": {"a": 1}}
    assert result == {"role": "tool", "content": "2", "tool_call_id": "abc"}


@pytest.mark.parametrize(
    "wish",
    [
        {"tools": [*TOOLS, *TOOLS]},
        {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
        {"tools": [{"type": "function", "function": {"name": "with space"}}]},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}},
        {"tool_choice": "required"},
        {"tools": [], "tool_choice": {"type": "function", "function": {"name": "sum"}}},
        {"tools": TOOLS, "tool_choice": "sometimes"},
    ],
)
def test_tools_that_make_no_sense(wish: dict[str, Any]) -> None:
    answer = Client(tool_engine("x")).ask({**messages(), **wish})
    assert answer.status == 400
    assert answer.error["param"].startswith("tool")


def test_reasoning_is_told_apart_also_in_front_of_calls() -> None:
    engine = tool_engine(f"I need a sum.</think>\n\n<tool_call>{ONE}</tool_call>")
    engine.opens_reasoning = True
    message = Client(engine).ask({**messages(), "tools": TOOLS}).json["choices"][0]["message"]
    assert message["reasoning_content"] == "I need a sum."
    assert message["tool_calls"][0]["function"]["name"] == "sum"
    streamed = Client(DoubleEngine(answer="<think>Hm.</think>Hello")).ask({**messages(), "stream": True})
    deltas = [event["choices"][0]["delta"] for event in streamed.events]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm."
    assert "".join(delta.get("content") or "" for delta in deltas) == "Hello"


def test_effort_reaches_the_template() -> None:
    engine = DoubleEngine()
    Client(engine).ask({**messages(), "reasoning_effort": "none", "chat_template_kwargs": {"a": 1}})
    assert engine.told[0]["variables"] == {"reasoning_effort": "none", "enable_thinking": False, "a": 1}


# and with a model -----------------------------------------------------------------------------

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer"}},
            "required": ["city"],
            "$defs": {"city": {"enum": ["Paris", "Rome"]}},
        },
    },
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"sum", "weather"}), ({"type": "function", "function": {"name": "weather"}}, {"weather"})],
)
def test_a_model_must_call(tools_server: Server, choice: Any, names: set[str], streams: bool) -> None:
    client = tools_server.client()
    wish: dict[str, Any] = {
        "model": "demo-Q8_0",
        "messages": [{"role": "user", "content": "How is the weather in Rome?"}],
        "tools": [*TOOLS, WEATHER],
        "tool_choice": choice,
        "temperature": 0,
        "max_tokens": 100,
        "logit_bias": {"95": 5},  # closes objects soon
    }
    if streams:
        chunks = list(client.chat.completions.create(**wish, stream=True))
        pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        calls = [piece for piece in pieces if piece.id]
        for call in calls:
            call.function.arguments = "".join(
                piece.function.arguments for piece in pieces if piece.index == call.index
            )
        reason = chunks[-1].choices[0].finish_reason
    else:
        answer = client.chat.completions.create(**wish).choices[0]
        calls, reason = list(answer.message.tool_calls or ()), answer.finish_reason
    (call,) = calls
    assert call.function.name in names
    arguments = json.loads(call.function.arguments)
    assert isinstance(arguments.get("a"), int) or arguments["city"] in ("Paris", "Rome")
    assert reason == "tool_calls"


def test_a_model_may_call(tools_server: Server) -> None:
    client = tools_server.client()
    wish: dict[str, Any] = {"model": "demo-Q8_0", "temperature": 0, "max_tokens": 12}
    asked: Any = [{"role": "user", "content": "What is GGUF?"}]
    plain = client.chat.completions.create(messages=asked, **wish)
    told = client.chat.completions.create(messages=asked, tools=[WEATHER], **wish)  # type: ignore[list-item]
    assert told.usage is not None and plain.usage is not None  # noqa: PT018
    assert told.usage.prompt_tokens > plain.usage.prompt_tokens + 20
    assert told.choices[0].message.content
    none = client.chat.completions.create(messages=asked, tools=[WEATHER], tool_choice="none", **wish)  # type: ignore[list-item]
    assert none.usage == plain.usage or none.choices[0].message == plain.choices[0].message


def test_arguments_that_cannot_be_forced_are_said(tools_server: Server) -> None:
    broken = {"type": "function", "function": {"name": "f", "parameters": {"$ref": "#/nowhere"}}}
    with pytest.raises(Exception, match="leads nowhere") as raised:
        tools_server.client().chat.completions.create(
            model="demo-Q8_0",
            messages=[{"role": "user", "content": "x"}],
            tools=[broken],
            tool_choice="required",
        )  # type: ignore[call-overload]
    assert raised.value.status_code == 400
