"""Chat templates: what they are given, and what a hostile or broken one can do."""

from __future__ import annotations

import pytest

from localllm.chat_template import ChatTemplate, plain_prompt
from localllm.errors import GenerationError

HELLO = [{"role": "user", "content": "Hello"}]


def test_a_template_gets_the_messages_and_special_tokens() -> None:
    source = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    assert ChatTemplate(source, bos="<s>", eos="</s>").render(HELLO) == "<s>[user]Hello</s>"


def test_a_broken_template_is_an_error() -> None:
    with pytest.raises(GenerationError, match="chat template is broken"):
        ChatTemplate("{% if %}", bos="", eos="")


def test_a_template_may_reject_a_conversation() -> None:
    template = ChatTemplate("{{ raise_exception('no system messages') }}", bos="", eos="")
    with pytest.raises(GenerationError, match="rejects the conversation: no system messages"):
        template.render(HELLO)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_hostile_template_is_stopped(source: str) -> None:
    with pytest.raises(GenerationError, match=r"did not finish|rejects"):
        ChatTemplate(source, bos="", eos="").render(HELLO)


def test_a_template_cannot_change_the_messages() -> None:
    messages = [dict(message) for message in HELLO]
    source = "{% for m in messages %}{% set _ = m.update({'content': 'x'}) %}{% endfor %}"
    with pytest.raises(GenerationError, match="rejects"):
        ChatTemplate(source, bos="", eos="").render(messages)
    assert messages == HELLO


def test_without_a_template_the_last_message_is_continued() -> None:
    assert plain_prompt([{"role": "system", "content": "s"}, *HELLO]) == "Hello"


def test_the_turn_can_be_left_closed() -> None:
    template = ChatTemplate(
        "{{ messages[0].content }}{% if add_generation_prompt %}>{% endif %}", bos="", eos=""
    )
    assert template.render(HELLO) == "Hello>"
    assert template.render(HELLO, open_turn=False) == "Hello"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "Hello"),
        ("{% for m in [1, 2, 3] %}{% if m == 2 %}{% break %}{% endif %}{{ m }}{% endfor %}", "1"),
        ("{{ {'a': '<ü>'} | tojson }}", '{"a": "<ü>"}'),
        ("{% if true %}\n  x{% endif %}\n", "  x"),
        ("{{ tools is none }}", "True"),
    ],
)
def test_what_transformers_offers(source: str, expected: str) -> None:
    assert ChatTemplate(source, bos="", eos="").render(HELLO) == expected


def test_the_day_is_known() -> None:
    assert ChatTemplate("{{ strftime_now('%Y') }}", bos="", eos="").render(HELLO).isdigit()
