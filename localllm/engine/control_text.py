"""Keeps what people and models said from becoming control tokens.

A template writes control tokens as text (`<|im_start|>`), and the prompt is tokenized with these texts as
tokens. The same text inside a message must stay text. So a message that has one is given to the template
with a mark in its place, letters nobody can guess; the prompt is cut at the control tokens the template wrote
itself, the marks are replaced again, and what lies between the cuts is tokenized as text.

The cuts are those of llama.cpp (`tokenizer_st_partition`), which is asked for them: for texts without marks
the result is the same as tokenizing everything at once.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localllm.native.model import Model, TokenAttribute

_CONTROL = (
    TokenAttribute.CONTROL | TokenAttribute.UNKNOWN
)  # what llama.cpp takes for text unless told otherwise
_SPECIAL = _CONTROL | TokenAttribute.USER_DEFINED
_C_SPACE = " \t\n\v\f\r"
_KEPT_VERDICTS = 512
_ANCHORS = ("\n", "\t", " ", "a")  # what a letter is looked at behind; nothing merges with all of them
# private letters that no template changes
_MARK_BEGINS, _MARK_ENDS = "\U000f5a31", "\U000f5a32"


class ControlTextGuard:
    """Marks control texts in messages, and tokenizes prompts made of marked messages.

    `control_tokens` returns those the file itself calls special. llama.cpp knows some more by their names;
    they are found when a text has one.
    """

    def __init__(self, model: Model, control_tokens: Callable[[], set[int]]) -> None:
        self._model = model
        self._control_tokens = control_tokens
        self._marks: dict[str, str] = {}
        self._key = ""
        self._is_harmless = functools.lru_cache(maxsize=_KEPT_VERDICTS)(self._find_harmless)

    def mark(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages with marks in place of control texts; begins a new set of marks."""
        self._marks = {}
        self._key = str(secrets.randbits(64))
        return [
            {name: self._marked(value) if name != "role" else value for name, value in message.items()}
            for message in messages
        ]

    def mark_more(self, value: Any) -> Any:
        """Return a JSON-compatible value with marks of the present set in all of its texts and names."""
        return self._marked(value)

    def tokenize(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt that was made of the messages last marked."""
        if not self._marks:
            return self._parsed(prompt)
        return self.tokenize_in_parts(prompt)

    def tokenize_in_parts(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, cut at its special tokens, with the marks replaced."""
        tokens: list[int] = []
        for part in self._cut(prompt, _SPECIAL, strip=True):
            tokens += [part] if isinstance(part, int) else self.plain(self._unmarked(part))
        return tokens

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text that holds no control tokens, whatever it looks like."""
        tokens = self._model.tokenize(text, add_special=False, parse_special=False)
        return [part for token in tokens for part in self._spelled(token)]

    # marking --------------------------------------------------------------------------------

    def _marked(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {self._marked(name): self._marked(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._marked(each) for each in value]
        if not isinstance(value, str) or self._is_harmless(value):
            return value
        while True:
            parts = self._cut(value, _CONTROL)
            if len(parts) < 2 and not any(isinstance(part, int) for part in parts):
                return self._with_marked_edges(value)
            value = "".join(
                self._mark(self._model.text(part)) if isinstance(part, int) else part for part in parts
            )

    def _mark(self, text: str) -> str:
        mark = f"{_MARK_BEGINS}{self._key}{len(self._marks)}{_MARK_ENDS}"
        self._marks[mark] = text
        return mark

    def _unmarked(self, text: str) -> str:
        for mark, meant in self._marks.items():
            text = text.replace(mark, meant)
        return text

    def _with_marked_edges(self, text: str) -> str:
        """Mark a beginning or an end that would make a control text with what the template writes there."""
        head, tail = self._edges(text)
        if not head and not tail:
            return text
        inner = text.strip()
        before, after = text[: text.find(inner)], text[text.find(inner) + len(inner) :]
        if head + tail >= len(inner):
            return before + self._mark(inner) + after
        middle = inner[head : len(inner) - tail]
        first = self._mark(inner[:head]) if head else ""
        last = self._mark(inner[len(inner) - tail :]) if tail else ""
        return before + first + middle + last + after

    def _edges(self, text: str) -> tuple[int, int]:
        """Return how many letters at the beginning end, and at the end begin, some control text."""
        inner = text.strip()
        beginnings, endings, longest = self._partial_texts
        lengths = range(min(longest, len(inner)), 0, -1)
        head = next((length for length in lengths if inner[:length] in endings), 0)
        tail = next((length for length in lengths if inner[-length:] in beginnings), 0)
        return head, tail

    def _find_harmless(self, text: str) -> bool:
        as_text = self._model.tokenize(text, add_special=False, parse_special=False)
        if as_text != self._parsed(text) or not self._known_control.isdisjoint(as_text):
            return False
        return self._edges(text) == (0, 0)

    # cutting --------------------------------------------------------------------------------

    def _parsed(self, text: str) -> list[int]:
        return self._model.tokenize(text, add_special=False, parse_special=True)

    def _cut(self, text: str, kinds: int, *, strip: bool = False) -> list[str | int]:
        """Cut a text at the tokens of some `kinds` that llama.cpp finds in it, in their order.

        With `strip` the space goes that such tokens swallow.
        """
        parts: list[str | int] = []
        done, swallows = 0, False
        for token in self._parsed(text):
            attributes = self._model.attributes(token)
            word = self._model.text(token) if attributes & kinds else ""
            found = text.find(word, done) if word else -1
            if found < 0:  # an ordinary token, or one for letters that the vocabulary lacks
                continue
            piece = text[done:found]
            piece = piece.lstrip(_C_SPACE) if swallows and strip else piece
            if attributes & TokenAttribute.STRIPS_LEFT and strip:
                piece = piece.rstrip(_C_SPACE)
            parts += [piece, token] if piece else [token]
            done, swallows = found + len(word), bool(attributes & TokenAttribute.STRIPS_RIGHT)
        rest = text[done:].lstrip(_C_SPACE) if swallows and strip else text[done:]
        return [*parts, rest] if rest else parts

    # the vocabulary -------------------------------------------------------------------------

    @functools.cached_property
    def _known_control(self) -> set[int]:
        return {token for token in self._control_tokens() if self._is_control(token)}

    @functools.cached_property
    def _partial_texts(self) -> tuple[set[str], set[str], int]:
        """Return all beginnings and all endings of control texts, and the length of the longest."""
        texts = [self._model.text(token) for token in self._known_control]
        beginnings = {text[:cut] for text in texts for cut in range(1, len(text))}
        endings = {text[cut:] for text in texts for cut in range(1, len(text))}
        return beginnings, endings, max(map(len, texts), default=0)

    def _is_control(self, token: int) -> bool:
        return bool(self._model.attributes(token) & TokenAttribute.CONTROL)

    def _spelled(self, token: int) -> list[int]:
        """Return the token itself, or the letters of a control token: some tokenizers merge them into it."""
        if not self._is_control(token):
            return [token]
        return [part for letter in self._model.text(token) for part in self._letter(letter)]

    def _letter(self, letter: str) -> list[int]:
        """Return the tokens of one letter as it is inside of a word."""
        for anchor in _ANCHORS:
            tokens = self._model.tokenize(anchor + letter, add_special=False, parse_special=False)
            for first in range(len(tokens) - 1, 0, -1):
                if b"".join(map(self._model.piece, tokens[first:])) == letter.encode():
                    return tokens[first:]
        return []
