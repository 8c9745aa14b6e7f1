"""Templates that try to escape, to go on for ever, or to eat all memory: an error after a second of work."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from localllm.chat_template import ChatTemplate
from localllm.errors import GenerationError

HELLO = [{"role": "user", "content": "Hello"}]

ESCAPES = [
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ()|attr('__class__')|attr('__base__')|attr('__subclasses__')() }}",
    "{{ '{0.__class__.__mro__}'.format(0) }}{{ raise_exception('no escape') }}",
    "{{ joiner.__init__.__globals__.__builtins__.open('CANARY', 'w') }}",
    "{{ namespace.__init__.__globals__['sys'].modules['os'].popen('touch CANARY').read() }}",
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch CANARY') }}",
    "{{ raise_exception.__globals__['json'].codecs.open('CANARY', 'w') }}",
    "{{ strftime_now.__globals__.datetime }}{{ strftime_now.__code__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
    "{% extends '/etc/passwd' %}",
]
ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops of text": "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}",
    "a power": "{{ messages[0].content | length ** (10 ** 10) }}",
    "a constant power": "{{ 10 ** (10 ** 10) }}",
    "large numbers": (
        "{% set n = namespace(v=9) %}{% for i in range(99999) %}{% set n.v = n.v * n.v %}{% endfor %}"
    ),
    "macros": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "two macros each": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}"
    ),
    "urlize": "{% for i in range(9999) %}{{ ('http://a@' * 9999) | urlize }}{% endfor %}",
}
LARGE = {
    "a string": "{{ 'a' * 10 ** 8 }}",
    "a larger string": "{{ 'a' * 10 ** 9 }}",
    "a terabyte": "{{ 'a' * 10 ** 12 }}",
    "doubling": (
        "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"
    ),
    "a list": "{{ ([0] * 10 ** 9) | length }}",
    "padding": "{{ 'a'.center(10 ** 10) }}",
    "a format": "{{ '%10000000000d' | format(1) }}",
    "replacing": "{{ ('a' * 10 ** 6).replace('a', 'b' * 10 ** 6) }}",
    "quiet": "{% set x = 'a' * 10 ** 10 %}",
    "an indent": "{{ messages | tojson(indent=10 ** 9) }}",
}


def children_seconds() -> float:
    """Return the processor time of the children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.fixture
def quick_child() -> None:
    """Have the child process running, as after loading a model."""
    ChatTemplate("{{ messages[0].content }}", bos="", eos="").render(HELLO)


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_gets_out_of_the_sandbox(source: str, working_directory: Path) -> None:
    with pytest.raises(GenerationError):
        ChatTemplate(source, bos="", eos="").render(HELLO)
    assert list(working_directory.iterdir()) == []


@pytest.mark.parametrize("source", [*ENDLESS.values(), *LARGE.values()], ids=[*ENDLESS, *LARGE])
def test_what_takes_too_much_ends_in_an_error_soon(source: str, quick_child: None) -> None:
    before = psutil.Process(os.getpid()).memory_info().rss
    worked = children_seconds()
    with pytest.raises(GenerationError):
        ChatTemplate(source, bos="", eos="").render(HELLO)
    assert children_seconds() - worked < 2
    assert psutil.Process(os.getpid()).memory_info().rss - before < 100 * 1024 * 1024


def test_deep_nesting_is_an_error() -> None:
    for source in (
        "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
        "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    ):
        with pytest.raises(GenerationError):
            ChatTemplate(source, bos="", eos="").render(HELLO)


def test_the_next_template_works(quick_child: None) -> None:
    with pytest.raises(GenerationError, match="did not finish"):
        ChatTemplate(ENDLESS["loops"], bos="", eos="").render(HELLO)
    assert ChatTemplate("{{ messages[0].content }}", bos="", eos="").render(HELLO) == "Hello"


def test_it_works_off_the_main_thread(quick_child: None) -> None:
    errors: list[str] = []

    def render() -> None:
        try:
            ChatTemplate(ENDLESS["loops"], bos="", eos="").render(HELLO)
        except GenerationError as error:
            errors.append(error.message)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join(10)
    assert errors == ["the model's chat template did not finish within 1 seconds"]
