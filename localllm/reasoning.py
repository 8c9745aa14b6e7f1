"""Tells the reasoning of an answer from what is said: `<think>…</think>` in front of it (pure).

Only what begins an answer is reasoning: a tag later on is text about tags. A chat template may open the tag
itself, at the end of the prompt; then the answer begins inside. Feeding a text character by character gives
the same parts as feeding it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

# how models begin and end their reasoning
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}


@dataclass(frozen=True)
class Part:
    """A piece of an answer, never empty, and whether it is reasoning."""

    text: str
    is_reasoning: bool = False


class _State(Enum):
    BEFORE = auto()  # only white space so far, or the beginning of an opening tag
    REASONING = auto()
    AFTER = auto()  # white space behind the reasoning
    ANSWER = auto()


class ReasoningSplitter:
    """Splits a stream of text; keeps its place between calls.

    `opened` tells that the prompt ended with an opening tag. The white space around reasoning belongs to
    nothing and is dropped.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self._state = _State.BEFORE
        self._opened = opened
        self._ends = tuple(_TAGS.values())
        self._held = ""
        self._has_begun = False  # whether there was reasoning other than white space

    def feed(self, text: str) -> list[Part]:
        """Take the next piece and return what is certain."""
        self._held += text
        parts: list[Part] = []
        while self._advance(parts):
            pass
        return _joined(parts)

    def finish(self) -> list[Part]:
        """Return what was held back: the text ended before it became a tag."""
        held, self._held = self._held, ""
        inside = self._state is _State.REASONING or (self._state is _State.BEFORE and self._opened)
        if inside:
            held = held.rstrip() if self._has_begun else held.strip()
        elif self._state is _State.AFTER:
            held = held.lstrip()
        return [Part(held, is_reasoning=inside)] if held else []

    def _advance(self, parts: list[Part]) -> bool:
        """Take one step; return whether another can follow."""
        if self._state is _State.ANSWER:
            if self._held:
                parts.append(Part(self._held))
            self._held = ""
            return False
        if self._state is _State.REASONING:
            return self._reason(parts)
        return self._begin()

    def _begin(self) -> bool:
        """Look for an opening tag behind white space."""
        begun = self._held.lstrip()
        tag = next((tag for tag in _TAGS if begun.startswith(tag)), None)
        if tag is not None:
            self._held, self._state = begun[len(tag) :], _State.REASONING
            self._ends, self._has_begun = (_TAGS[tag],), False
        elif any(tag.startswith(begun) for tag in _TAGS):  # also when there is nothing yet
            return False
        elif self._opened and self._state is _State.BEFORE:
            self._state = _State.REASONING
        else:
            self._held = begun if self._state is _State.AFTER else self._held
            self._state = _State.ANSWER
        return True

    def _reason(self, parts: list[Part]) -> bool:
        """Pass reasoning on up to its closing tag, without the white space in front of that."""
        found = [(at, tag) for tag in self._ends if (at := self._held.find(tag)) >= 0]
        at, tag = min(found, default=(-1, ""))
        reasoning = self._held[:at].rstrip() if found else self._held[: _certain(self._held, self._ends)]
        rest = self._held[at + len(tag) :] if found else self._held[len(reasoning) :]
        if not self._has_begun:
            reasoning = reasoning.lstrip()
        if reasoning:
            parts.append(Part(reasoning, is_reasoning=True))
            self._has_begun = True
        self._held = rest
        if found:
            self._state = _State.AFTER
        return bool(found)


def split_reasoning(text: str, *, opened: bool = False) -> tuple[str, str]:
    """Return the reasoning and what is said of a whole answer.

    Of a whole answer the closing tag is enough: what is in front of it was reasoning, also when nobody
    knew that the prompt had opened it.
    """
    opened = opened or _closes_unopened(text)
    splitter = ReasoningSplitter(opened=opened)
    parts = [*splitter.feed(text), *splitter.finish()]
    said = "".join(part.text for part in parts if not part.is_reasoning)
    return "".join(part.text for part in parts if part.is_reasoning), said


def opens_reasoning(prompt: str) -> bool:
    """Return whether a rendered prompt ends with an opening tag."""
    return prompt.rstrip().endswith(tuple(_TAGS))


def _closes_unopened(text: str) -> bool:
    """Whether a tag is closed, alone on its line, that the answer does not open."""
    lines = [line.strip() for line in text.splitlines()]
    closing = next(((index, line) for index, line in enumerate(lines) if line in _TAGS.values()), None)
    if closing is None:
        return False
    opening = next(tag for tag, end in _TAGS.items() if end == closing[1])
    return not any(opening in line for line in lines[: closing[0]])


def _certain(text: str, ends: tuple[str, ...]) -> int:
    """Return how much of `text` is reasoning whatever follows: up to space and a begun tag at its end."""
    longest = max(map(len, ends))
    starts = range(max(0, len(text) - longest), len(text))
    cut = next((at for at in starts if any(end.startswith(text[at:]) for end in ends)), len(text))
    return len(text[:cut].rstrip())


def _joined(parts: list[Part]) -> list[Part]:
    """Return `parts` with neighbours of one kind put together."""
    found: list[Part] = []
    for part in parts:
        if found and found[-1].is_reasoning == part.is_reasoning:
            found[-1] = Part(found[-1].text + part.text, part.is_reasoning)
        else:
            found.append(part)
    return found
