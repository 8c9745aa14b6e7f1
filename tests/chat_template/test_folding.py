"""System messages for templates that have no place for them."""

from __future__ import annotations

import pytest

from localllm.chat_template import ChatTemplate, fold_system

SYSTEM = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi"}
NATIVE = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}"
REFUSING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + NATIVE
)
DROPPING = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([QUESTION, ANSWER], [QUESTION, ANSWER]),
        ([SYSTEM, QUESTION], [user("Be brief.\n\nHello")]),
        ([SYSTEM, SYSTEM, QUESTION], [user("Be brief.\n\nBe brief.\n\nHello")]),
        ([SYSTEM, ANSWER, QUESTION], [ANSWER, user("Be brief.\n\nHello")]),
        ([QUESTION, SYSTEM, ANSWER], [QUESTION, ANSWER, user("Be brief.")]),
        ([SYSTEM], [user("Be brief.")]),
    ],
)
def test_folding(messages: list[dict[str, str]], folded: list[dict[str, str]]) -> None:
    assert fold_system(messages) == folded


@pytest.mark.parametrize(
    ("source", "takes"),
    [
        (NATIVE, True),
        (REFUSING, False),
        (DROPPING, False),
        ("{{ raise_exception('no') }}", True),
        ("{% for m in messages %}{{ m | tojson }}{% endfor %}", True),
        ("nothing of it", True),
    ],
)
def test_who_takes_system_messages(source: str, takes: bool) -> None:
    assert ChatTemplate(source, bos="", eos="").takes_system is takes
