"""Stop texts, chat templates and sampling options, without a model."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.engine.options import SamplingOptions
from localllm.engine.stopping import StopFilter
from localllm.engine.template import ChatTemplate, plain_prompt
from localllm.errors import GenerationError, UsageError

HELLO = [{"role": "user", "content": "Hello"}]


def filtered(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stop_filter, shown = StopFilter(stops), ""
    for piece in pieces:
        shown += stop_filter.feed(piece)
        if stop_filter.stopped:
            return shown, True
    return shown + stop_filter.flush(), False


@pytest.mark.parametrize(
    ("text", "stops", "shown", "stopped"),
    [
        ("one STOP two", ["STOP"], "one ", True),
        ("one STO", ["STOP"], "one STO", False),
        ("aab", ["ab"], "a", True),
        ("abc", ["abcd", "c"], "ab", True),
        ("text", [], "text", False),
    ],
)
def test_stop_texts(text: str, stops: list[str], shown: str, stopped: bool) -> None:
    assert filtered(list(text), stops) == (shown, stopped)


@given(
    st.text("ab", max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_the_pieces_do_not_matter(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    shown, stopped = filtered(pieces, stops)
    assert (shown, stopped) == filtered(list(text), stops)
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"top_p": -0.1},
        {"max_tokens": 0},
        {"seed": -1},
        {"stop": ("",)},
        {"repeat_penalty": 0.0},
    ],
)
def test_options_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SamplingOptions(**wrong)  # type: ignore[arg-type]


def test_defaults_fill_only_what_is_not_given() -> None:
    options = SamplingOptions(temperature=0.0).over({"temperature": 0.7, "top_p": 0.9})
    assert (options.temperature, options.top_p) == (0.0, 0.9)
