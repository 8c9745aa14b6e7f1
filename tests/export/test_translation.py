"""A translated template makes the prompts of the model's own, byte for byte, or there is none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from localllm.chat_template import ChatTemplate, fold_system
from localllm.errors import GenerationError
from localllm.export.conversations import CONVERSATIONS
from localllm.export.go_template import GoTemplate
from localllm.export.ollama_rendering import render
from localllm.export.translation import translate
from tests.export.cases import known_templates, real_templates

BOS, EOS = "<s>", "</s>"
NOT_TRANSLATED = {  # they take lists of parts, or need tools
    "granite/tiny_granite_vision/chat_template.json",
    "mistralrs_chat_templates/mistral_small_tool_call.jinja",
    "mistralrs_chat_templates/nousresearch_hermes2_pro_tool_use.jinja",
    "mistralrs_chat_templates/nousresearch_hermes3_tool_use.jinja",
}


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos=BOS, eos=EOS)


def jinja_prompt(source: str, conversation: list[dict[str, str]]) -> str:
    """Return the prompt as the chat makes it: folded when the template refuses system prompts."""
    try:
        return template(source).render(conversation)
    except GenerationError:
        return template(source).render(fold_system(conversation))


@pytest.mark.parametrize("name", known_templates())
@pytest.mark.parametrize("adds_bos", [True, False])
def test_known_templates_agree_in_ten_conversations(name: str, adds_bos: bool) -> None:
    assert len(CONVERSATIONS) == 10
    source = known_templates()[name]
    bos = BOS if adds_bos else ""
    found = translate(template(source), bos=bos)
    assert found.problem is None
    assert found.checked == 10
    assert found.source is not None
    made = GoTemplate(found.source)
    for conversation in CONVERSATIONS:
        wanted = jinja_prompt(source, conversation)
        has_bos = adds_bos and wanted.startswith(BOS)
        assert (BOS if has_bos else "") + render(made, conversation) == wanted


def test_templates_of_real_models_agree_but_for_a_few(material: Path) -> None:
    refused = set()
    for name, source in real_templates(material):
        try:
            found = translate(template(source), bos=BOS)
        except GenerationError:
            continue  # broken already
        if found.source is None:
            assert found.problem
            refused.add(name)
            continue
        made = GoTemplate(found.source)
        for conversation in CONVERSATIONS:
            wanted = jinja_prompt(source, conversation).removeprefix(BOS)
            assert render(made, conversation) == wanted, name
    assert refused <= NOT_TRANSLATED


def test_an_answer_that_is_begun_is_gone_on_with() -> None:
    found = translate(template(known_templates()["chatml"]), bos="")
    assert found.source is not None
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel"}]
    assert render(GoTemplate(found.source), messages).endswith("<|im_start|>assistant\nHel")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ messages | length }}", "does more with messages"),
        ("{% for m in messages | reverse %}{{ m.content }}{% endfor %}", "order"),
        ("{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}", "more than turns"),
        ("{{ raise_exception('never') }}", "never"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "does more with messages"),
        (
            "{% for m in messages %}{{ m.content }}{{ '!' if 'x' in m.content }}{% endfor %}",
            "more than turns",
        ),
    ],
)
def test_what_is_no_sequence_of_turns_is_said(source: str, problem: str) -> None:
    found = translate(template(source), bos="")
    assert found.source is None
    assert problem in str(found.problem)


def test_what_differs_besides_is_said() -> None:
    assert any(
        "white space" in note for note in translate(template(known_templates()["llama-3"]), bos=BOS).notes
    )
    assert not translate(template(known_templates()["chatml"]), bos="").notes
    thinking = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}{% endfor %}[assistant]"
    )
    assert any("reasoning" in note for note in translate(template(thinking), bos="").notes)
    tools = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if tools %}{% endif %}{% endfor %}[assistant]"
    )
    assert translate(template(tools), bos="").notes == ("tool calls are left out",)


def test_hostile_texts_around_messages_come_through() -> None:
    draw = random.Random(7)
    alphabet = [*'{{{}}}"""\\`-/*%#$ \t\n.<>ab', "\u00a0", "\u200d", "\u202e", "\x07", "é", "\U0001f600"]
    for _ in range(60):
        before, middle, behind = (
            "".join(draw.choice(alphabet) for _ in range(draw.randrange(9))) for _ in range(3)
        )
        source = (
            f"{{% for m in messages %}}{{{{ {before!r} + m.role + {middle!r} + m.content + {behind!r} }}}}"
            f"{{% endfor %}}{{{{ {before!r} + 'assistant' + {middle!r} if add_generation_prompt }}}}"
        )
        if "'" in before + middle + behind:
            continue
        found = translate(template(source), bos="")
        assert found.source is not None, source
        assert found.source.isprintable() or set(filter(lambda c: not c.isprintable(), found.source)) <= {
            "\n",
            "\t",
        }
        assert '"""' not in found.source
