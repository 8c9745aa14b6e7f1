"""Each field of a chat completion has its effect: the stock client, streaming and not, on the demo model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from tests.server.asgi import Client, messages
from tests.server.conftest import Server
from tests.server.double import DoubleEngine

QUESTION = [{"role": "user", "content": "What is inside a GGUF file?"}]
OPEN = [
    {"role": "user", "content": "Tell me a story of seven umbrellas."}
]  # nothing it has learnt an answer to
# few tokens: what was read at once, or in parts, is rounded otherwise, and a tie can fall to either side
TAME = {"messages": OPEN, "temperature": 0, "max_tokens": 10}
WILD = {**TAME, "temperature": 2, "seed": 1, "top_k": 0, "top_p": 1, "min_p": 0}
SCHEMA = {
    "type": "object",
    "properties": {"good": {"type": "boolean"}, "level": {"enum": ["Q4_K_M", "Q8_0"]}},
    "required": ["good", "level"],
}


@dataclass
class Said:
    """What one choice said, however it came."""

    text: str = ""
    reason: str | None = None
    tokens: list[Any] = field(default_factory=list)


@dataclass
class Told:
    """A whole answer."""

    choices: list[Said]
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def reason(self) -> str | None:
        return self.choices[0].reason


def ask(client: OpenAI, *, streams: bool, **fields: Any) -> Told:
    """Ask with the client and return the answer, the same way for both kinds."""
    extra = {
        name: fields.pop(name) for name in ("top_k", "min_p", "repeat_penalty", "grammar") if name in fields
    }
    wish = {"model": "demo-Q8_0", "messages": QUESTION, "temperature": 0, "max_tokens": 24, **fields}
    if not streams:
        answer = client.chat.completions.create(**wish, extra_body=extra)
        choices = [
            Said(
                choice.message.content or "",
                choice.finish_reason,
                list(choice.logprobs.content or []) if choice.logprobs else [],
            )
            for choice in answer.choices
        ]
        assert [choice.index for choice in answer.choices] == list(range(len(choices)))
        return Told(choices, answer.usage.prompt_tokens, answer.usage.completion_tokens)
    wish["stream_options"] = {"include_usage": True}
    choices = [Said() for _ in range(fields.get("n", 1))]
    usage = None
    for chunk in client.chat.completions.create(**wish, stream=True, extra_body=extra):
        assert usage is None, "usage comes last"
        usage = chunk.usage
        for choice in chunk.choices:
            said = choices[choice.index]
            said.text += choice.delta.content or ""
            said.reason = choice.finish_reason or said.reason
            said.tokens += (choice.logprobs.content or []) if choice.logprobs else []
    assert usage is not None
    return Told(choices, usage.prompt_tokens, usage.completion_tokens)


Check = Callable[[Told, Told], bool]


def _is_json_object(told: Told, _: Told) -> bool:
    return isinstance(json.loads(told.text), dict)


def _follows_schema(told: Told, _: Told) -> bool:
    found = json.loads(told.text)
    return set(found) == {"good", "level"} and found["level"] in ("Q4_K_M", "Q8_0") and told.reason == "stop"


def _has_probabilities(told: Told, _: Told) -> bool:
    tokens = told.choices[0].tokens
    whole = b"".join(bytes(token.bytes) for token in tokens).decode()
    likeliest = all(token.top_logprobs[0].token == token.token for token in tokens)  # temperature 0
    ordered = all(
        token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob >= token.top_logprobs[2].logprob
        and len(token.top_logprobs) == 3
        for token in tokens
    )
    return whole == told.text and likeliest and ordered and all(token.logprob <= 0 for token in tokens)


# field or fields, and what must be true of the answer, given the one without them (to QUESTION or to OPEN)
EFFECTS: dict[str, tuple[dict[str, Any], Check]] = {
    "max_tokens": ({"max_tokens": 3}, lambda a, b: a.completion_tokens == 3 and a.reason == "length"),
    "max_completion_tokens": (
        {"max_tokens": None, "max_completion_tokens": 4},
        lambda a, b: a.completion_tokens == 4 and a.reason == "length",
    ),
    "temperature": (WILD, lambda a, b: a.text != b.text),
    "top_p": ({**WILD, "top_p": 0}, lambda a, b: a.text == b.text),
    "top_k": ({**WILD, "top_k": 1}, lambda a, b: a.text == b.text),
    "min_p": ({**WILD, "min_p": 1}, lambda a, b: a.text == b.text),
    "stop": ({"stop": "file"}, lambda a, b: a.text == b.text.partition("file")[0] and a.reason == "stop"),
    "stop, several": (
        {"stop": ["never said", "file"]},
        lambda a, b: a.text == b.text.partition("file")[0],
    ),
    "presence_penalty": ({"presence_penalty": 2, "max_tokens": 48}, lambda a, b: a.text != b.text),
    "frequency_penalty": ({"frequency_penalty": 2, "max_tokens": 48}, lambda a, b: a.text != b.text),
    "repeat_penalty": ({"repeat_penalty": 3, "max_tokens": 48}, lambda a, b: a.text != b.text),
    "n": (
        {**WILD, "n": 3},
        lambda a, b: len({choice.text for choice in a.choices}) == 3,
    ),
    "logit_bias": (
        {"logit_bias": {"72": 100}, "max_tokens": 3},  # the letter f, whatever is likely
        lambda a, b: a.text == a.text[0] * 3 and a.text != b.text[:3],
    ),
    "logprobs": (
        {"logprobs": True},
        lambda a, b: len(a.choices[0].tokens) >= 20 and not b.choices[0].tokens,
    ),
    "top_logprobs": ({"logprobs": True, "top_logprobs": 3}, _has_probabilities),
    "response_format, text": ({"response_format": {"type": "text"}}, lambda a, b: a.text == b.text),
    "response_format, json_object": (
        {"response_format": {"type": "json_object"}, "logit_bias": {"95": 100}},
        _is_json_object,  # the brace that closes it as soon as it may
    ),
    "response_format, json_schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
         "max_tokens": 60},
        _follows_schema,
    ),
    "grammar": ({"grammar": 'root ::= "yes" | "no"'}, lambda a, b: a.text in ("yes", "no")),
    "messages, system": (
        {"messages": [{"role": "system", "content": "Be brief."}, *QUESTION]},
        lambda a, b: a.prompt_tokens > b.prompt_tokens,
    ),
    "messages, parts": (
        {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is inside "}, {"type": "text", "text": "a GGUF file?"}]}]},
        lambda a, b: a.text == b.text and a.prompt_tokens == b.prompt_tokens,
    ),
    "messages, history": (
        {"messages": [
            {"role": "user", "content": "My name is Zora."},
            {"role": "assistant", "content": "Nice to meet you, Zora!"},
            {"role": "user", "content": "What is my name?"}]},
        lambda a, b: "Zora" in a.text,
    ),
    "without effect": (
        {"user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "modalities": ["text"],
         "prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "medium",
         "parallel_tool_calls": True},
        lambda a, b: a.text == b.text,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(server: Server) -> dict[str, Told]:
    """The greedy answers without any other field."""
    asked: list[dict[str, Any]] = [{"messages": QUESTION}, TAME]
    return {wish["messages"][0]["content"]: ask(server.client(), streams=False, **wish) for wish in asked}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", EFFECTS)
def test_the_field_has_its_effect(server: Server, plain: dict[str, Told], name: str, streams: bool) -> None:
    fields, check = EFFECTS[name]
    told = ask(server.client(), streams=streams, **fields)
    assert check(told, plain[(OPEN if fields.get("messages") is OPEN else QUESTION)[0]["content"]]), told


def test_streamed_and_whole_answers_are_the_same(server: Server, plain: dict[str, Told]) -> None:
    assert ask(server.client(), streams=True, **TAME) == plain[OPEN[0]["content"]]


def test_a_seed_makes_answers_repeatable(server: Server) -> None:
    _, first, again, other = (  # the first reads the prompt, the others find it read
        ask(server.client(), streams=False, **{**WILD, "seed": seed}).text for seed in (3, 3, 3, 2**40 + 4)
    )
    assert first == again != other


class Level(BaseModel):
    """What a level is called and whether it is good."""

    good: bool
    name: Literal["Q4_K_M", "Q8_0"]


def test_the_client_parses_answers_that_follow_its_models(server: Server) -> None:
    answer = server.client().chat.completions.parse(
        model="demo-Q8_0",
        messages=QUESTION,  # type: ignore[arg-type]
        response_format=Level,
        temperature=0,
        max_tokens=60,
    )
    assert isinstance(answer.choices[0].message.parsed, Level)


@pytest.mark.parametrize("strict", [True, False])
def test_strict_schemas_are_enforced_or_refused(strict: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}}
    wish = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
    answer = Client(DoubleEngine()).ask({**messages(), "response_format": wish})
    assert answer.status == (400 if strict else 200)
    assert not strict or "`minimum`" in answer.error["message"]


def test_developer_is_system(server: Server) -> None:
    both = [
        ask(server.client(), streams=False, messages=[{"role": role, "content": "Be brief."}, *QUESTION])
        for role in ("system", "developer")
    ]
    assert both[0] == both[1]


def test_a_prefix_seen_before_is_not_read_again(server: Server) -> None:
    client = server.client()
    said = [{"role": "user", "content": "Tell me what quantization levels are for, and how to choose."}]
    cached = []
    for _ in range(2):
        answer = client.chat.completions.create(model="demo-Q8_0", messages=said, max_tokens=2)  # type: ignore[arg-type]
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens or 0)
    assert cached[1] > cached[0]


IMPOSSIBLE: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "mp3"},
    "prediction": {"type": "content", "content": "x"},
    "functions": [{"name": "f"}],
    "modalities": ["audio"],
    "service_tier": "priority",
    "store": True,
    "verbosity": "low",
    "web_search_options": {},
    "temperature": 2.5,
    "top_p": -0.1,
    "n": 0,
    "seed": 1.5,
    "max_tokens": 0,
    "max_completion_tokens": -1,
    "logit_bias": {"999999999": 1},
    "top_logprobs": 3,
    "stop": [""],
    "presence_penalty": 3,
    "response_format": {"type": "yaml"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "grammar": "root ::= (",
    "no_such_field": 1,
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_done_is_said(server: Server, name: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        server.client().chat.completions.create(
            model="demo-Q8_0",
            messages=QUESTION,  # type: ignore[arg-type]
            extra_body={name: IMPOSSIBLE[name]},
        )
    error = raised.value
    assert error.type == "invalid_request_error"
    assert name in (error.param or error.message) or (name, error.param) == (
        "max_completion_tokens",
        "max_tokens",
    )
