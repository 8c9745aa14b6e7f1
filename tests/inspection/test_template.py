"""Chat templates: what is seen without running them, and what they make of a conversation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localllm.chat_template import ChatTemplate
from localllm.errors import GenerationError
from localllm.inspection.rendering import SYSTEM, TURNS, render
from localllm.inspection.template import unclosed

SOUND = (
    "",
    "plain text with } %} and }}",
    "{% for m in messages %}{{ m }}{% endfor %}",
    "{%- for m in messages -%}\n{%- if m -%}{{- m -}}{%- else -%}{%- endif -%}\n{%- endfor -%}",
    "{{ {'a': {'b': 1}} }}",
    "{{ 'it''s' }}{{ \"%}\" }}{% if '%}' %}x{% endif %}",
    "{# a comment with {% for %} and {{ in it #}",
    "{% raw %}{% for %}{{ {% endraw %}",
    "{% set x = 1 %}{% set x.y = 2 %}{% set a, b = 1, 2 %}",
    "{% set x %}block{% endset %}",
    "{% set x | replace('a=b', 'c') %}block{% endset %}",
    "{% macro f(a, b='}') %}{{ a }}{% endmacro %}{{ f(1) }}",
    "{% generation %}x{% endgeneration %}",
    "{% for a in b if a == '{%' %}{% break %}{% endfor %}",
    "{{ '\\'' }}",
)
BROKEN = {
    "{% for m in messages %}{{ m }}": "a `for` is never closed",
    "{% if x %}a": "a `if` is never closed",
    "a\nb\n{{ messages[0": "`{{` in line 3 is never closed",
    "{% if 'x %}": "`{%` in line 1 is never closed",
    "{# never": "`{#` in line 1 is never closed",
    "{% raw %}{{ x }}": "`{%` in line 1 is never closed",
    "{% endfor %}": "`endfor` closes nothing in line 1",
    "{% for a in b %}{% endif %}": "`endif` closes nothing in line 1",
    "{% set x %}": "a `set` is never closed",
}


@pytest.mark.parametrize("source", SOUND)
def test_sound_templates_are_left_alone(source: str) -> None:
    ChatTemplate(source, bos="", eos="")  # jinja takes it, too
    assert unclosed(source) is None


@pytest.mark.parametrize("source", BROKEN)
def test_broken_templates_are_recognised(source: str) -> None:
    with pytest.raises(GenerationError):
        ChatTemplate(source, bos="", eos="")
    assert unclosed(source) == BROKEN[source]


def _real_templates(material: Path) -> list[str]:
    sources = [path.read_text() for path in material.rglob("*.jinja")]
    for path in material.rglob("tokenizer_config.json"):
        found = json.loads(path.read_text()).get("chat_template")
        sources += [found] if isinstance(found, str) else []
    for path in (material / "mistralrs_chat_templates").glob("*.json"):
        found = json.loads(path.read_text()).get("chat_template")
        sources += [found] if isinstance(found, str) else []
    return list(dict.fromkeys(sources))


def _is_refused(source: str) -> bool:
    try:
        ChatTemplate(source, bos="", eos="")
    except GenerationError:
        return True
    return False


def test_real_templates_whole_and_cut_off(material: Path) -> None:
    """What is called broken jinja refuses; of what is cut off nearly everything is called broken."""
    templates = _real_templates(material)
    assert len(templates) > 20
    cut = missed = 0
    for source in templates:
        assert unclosed(source) is None or _is_refused(source), source[:200]
        for length in range(1, len(source), max(1, len(source) // 12)):
            is_refused = _is_refused(source[:length])
            cut += is_refused
            if unclosed(source[:length]) is None:
                missed += is_refused
            else:
                assert is_refused, source[:length][-80:]
    assert cut > 200
    assert missed / cut < 0.05


@pytest.mark.parametrize("unit", ["{%", "{{ '", "{% raw %}", "{% if ' %}", "{#", "'\\", "{% set a "])
def test_no_template_takes_long(unit: str) -> None:
    """The whole text is looked at once; a quadratic search would take minutes."""
    unclosed(unit * (900_000 // len(unit)))
    unclosed("{% if x %}" + "'a' " * 200_000)


def test_a_conversation_is_rendered() -> None:
    found = render(
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}", bos="<s>"
    )
    assert found.problem is None
    assert found.messages == (SYSTEM, *TURNS)
    assert found.prompt is not None
    assert found.prompt.startswith(f"<s>[system]{SYSTEM['content']}[user]")


def test_a_template_that_refuses_system_messages() -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}.{% endfor %}"
    )
    found = render(source)
    assert found.messages == TURNS
    assert found.prompt == "user.assistant.user."
    assert found.problem is not None
    assert "no system role" in found.problem


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% if %}", "broken"),
        ("{{ raise_exception('never') }}", "never"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "within 1 seconds",
        ),
        ("{{ ''.__class__.__mro__ }}", "rejects"),
    ],
)
def test_what_goes_wrong_is_told(source: str, words: str) -> None:
    found = render(source)
    assert found.prompt is None
    assert found.problem is not None
    assert words in found.problem
