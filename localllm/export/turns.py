"""Finds out what a chat template puts around messages, by rendering conversations whose texts it knows.

Most templates are a sequence of turns: something in front of a message and behind it, by its role. What they
are is read off the prompts, so that no list of known templates is needed and none can be out of date. Whether
that is all there is to a template only comparing shows; see `translation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from localllm.chat_template import ChatTemplate, fold_system
from localllm.errors import GenerationError

_TEXTS = ("Probe4711s", "Probe4711a", "Probe4711b", "Probe4711c")  # survive trimming and every quoting
_SYSTEM, _FIRST, _ANSWER, _SECOND = _TEXTS

Render = Callable[[Sequence[Mapping[str, str]], bool], str]


class NoTurnsError(Exception):
    """A template that is no sequence of turns; the text says why."""


class SystemPlace(Enum):
    """Where a template puts the system prompt: at the start, or into the last message of the user."""

    START = auto()
    LAST_MESSAGE = auto()


@dataclass(frozen=True)
class Turns:
    """What stands around messages.

    `start` stands in front of the first user message when there is no system prompt; with one it is
    `before_system` and `after_system` that stand around that, up to the user's text. `question` and `answer`
    are what stands in front of and behind the later ones, `closing` stands behind the last question.
    """

    start: str
    before_system: str
    after_system: str
    system_place: SystemPlace
    question: tuple[str, str]
    answer: tuple[str, str]
    closing: str


def turns_of(template: ChatTemplate, *, bos: str) -> Turns:
    """Return the turns of a template, without the `bos` that a tokenizer adds. Raise NoTurnsError."""

    def render(messages: Sequence[Mapping[str, str]], open_turn: bool) -> str:
        return prompt_of(template, messages, bos=bos, open_turn=open_turn)

    try:
        return _found(render)
    except GenerationError as error:
        raise NoTurnsError(error.message) from None


def prompt_of(
    template: ChatTemplate, messages: Sequence[Mapping[str, str]], *, bos: str, open_turn: bool = True
) -> str:
    """Return a prompt without the `bos` in front; system prompts that a template refuses go where ours go.

    Raise GenerationError.
    """
    known = messages if template.takes_system else fold_system(messages)
    return template.render(known, open_turn=open_turn).removeprefix(bos)


def _found(render: Render) -> Turns:
    plain = [_message("user", _FIRST), _message("assistant", _ANSWER), _message("user", _SECOND)]
    start, to_answer, to_question, closing = _split(render(plain, True), (_FIRST, _ANSWER, _SECOND))
    after_question = _shared(to_answer, _behind(render, plain[:1]))
    after_answer = _shared(to_question, _behind(render, plain[:2]))
    with_system = render([_message("system", _SYSTEM), *plain], True)
    place, before, after = _system(with_system, start, to_question)
    return Turns(
        start=start,
        before_system=before,
        after_system=after,
        system_place=place,
        question=(to_question.removeprefix(after_answer), after_question),
        answer=(to_answer.removeprefix(after_question), after_answer),
        closing=closing,
    )


def _system(prompt: str, start: str, to_question: str) -> tuple[SystemPlace, str, str]:
    """Return where the system prompt stands, and what is around it."""
    if prompt.find(_SYSTEM) < prompt.find(_FIRST):
        before, after, *_ = _split(prompt, (_SYSTEM, _FIRST, _ANSWER, _SECOND))
        return SystemPlace.START, before, after
    first, _, before, after, _ = _split(prompt, (_FIRST, _ANSWER, _SYSTEM, _SECOND))
    if first != start or not before.startswith(to_question):
        raise NoTurnsError("it puts the system prompt between the messages")
    return SystemPlace.LAST_MESSAGE, before.removeprefix(to_question), after


def _split(prompt: str, texts: Sequence[str]) -> list[str]:
    """Return what stands in front of, between and behind texts.

    Raise NoTurnsError when one of them is not there once.
    """
    for text in _TEXTS:
        if prompt.count(text) != (1 if text in texts else 0):
            raise NoTurnsError("it does more with messages than to put them one behind the other")
    parts, rest = [], prompt
    for text in texts:
        part, found, rest = rest.partition(text)
        if not found:
            raise NoTurnsError("it changes the order of messages")
        parts.append(part)
    return [*parts, rest]


def _behind(render: Render, messages: Sequence[Mapping[str, str]]) -> str:
    """Return what closes the last message; "" when the template does not end there."""
    try:
        return render(messages, False).rpartition(messages[-1]["content"])[2]
    except GenerationError:
        return ""


def _shared(between: str, behind: str) -> str:
    """Return what belongs to a message of what follows it: what also closes it when nothing follows."""
    return behind if between.startswith(behind) else ""


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
