"""Turns the text of a chat answer into what the API tells apart: reasoning, content, tool calls (pure)."""

from __future__ import annotations

import copy
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from localllm.reasoning import Part, ReasoningSplitter
from localllm.server.call_reader import Arguments, CallReader, Found
from localllm.server.call_syntax import Call

_ID_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9  # templates of Mistral's models take no others

Delta = dict[str, Any]


@dataclass
class Reply:
    """One answer as it comes: `feed` returns what is new as the API's deltas, `message` all of it.

    `opened` tells that the prompt began the reasoning. Without a `reader` there are no calls; with `several`
    off, calls behind the first are dropped.
    """

    opened: bool = False
    reader: CallReader | None = None
    several: bool = True
    reasoning: str = ""
    content: str = ""
    calls: list[Delta] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._drops = False
        self._splitter = ReasoningSplitter(opened=self.opened)

    def feed(self, text: str) -> list[Delta]:
        """Take the next piece of the answer and return the deltas that are certain."""
        return self._deltas(self._splitter.feed(text))

    def finish(self) -> list[Delta]:
        """Return the deltas of what was held back."""
        deltas = self._deltas(self._splitter.finish())
        if self.reader is not None:
            deltas += [delta for found in self.reader.finish() for delta in self._said(found)]
        return deltas

    def message(self) -> Delta:
        """Return the whole message."""
        message: Delta = {"role": "assistant", "content": self.content or ("" if not self.calls else None)}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [
                {name: value for name, value in call.items() if name != "index"} for call in self.calls
            ]
        return {**message, "refusal": None}

    def finish_reason(self, reason: str) -> str:
        """Return the API's reason for the engine's: what ended with calls waits for their results."""
        return "tool_calls" if self.calls and reason == "stop" else reason

    def _deltas(self, parts: Sequence[Part]) -> list[Delta]:
        deltas: list[Delta] = []
        for part in parts:
            if part.is_reasoning:
                self.reasoning += part.text
                deltas.append({"reasoning_content": part.text})
            elif self.reader is None:
                deltas += self._said(part.text)
            else:
                deltas += [delta for found in self.reader.feed(part.text) for delta in self._said(found)]
        return deltas

    def _said(self, found: Found) -> list[Delta]:
        if isinstance(found, str):
            self.content += found
            return [{"content": found}]
        if isinstance(found, Arguments):
            return [] if self._drops else self._more_arguments(found.text)
        self._drops = bool(self.calls) and not self.several
        if self._drops:
            return []
        call = {
            "index": len(self.calls),
            "id": "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH)),
            "type": "function",
            "function": {"name": found.name, "arguments": found.arguments if isinstance(found, Call) else ""},
        }
        self.calls.append(copy.deepcopy(call))  # what was told stays as it was when more comes
        return [{"tool_calls": [call]}]

    def _more_arguments(self, text: str) -> list[Delta]:
        self.calls[-1]["function"]["arguments"] += text
        return [{"tool_calls": [{"index": len(self.calls) - 1, "function": {"arguments": text}}]}]
