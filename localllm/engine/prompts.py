"""From messages to the tokens of a prompt: template, system role, control tokens, beginning of the text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from localllm.chat_template import ChatTemplate, fold_system, plain_prompt
from localllm.engine.control_text import ControlTextGuard
from localllm.errors import GenerationError
from localllm.events import Emit, Notice
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.native.model import Model
from localllm.reasoning import opens_reasoning

_KEPT_PROMPTS = 8
_NOT_ORDINARY = re.compile(rb"[^\x01\x05\x06]")  # NORMAL, UNUSED, BYTE of llama_token_type


@dataclass(frozen=True)
class Prompt:
    """The tokens of a prompt, and whether the answer to it begins inside of reasoning."""

    tokens: tuple[int, ...]
    opens_reasoning: bool


class Prompts:
    """Makes prompts for one model. Without a template the last message is continued as it is."""

    def __init__(self, model: Model, header: GGUFHeader, template: ChatTemplate | None, emit: Emit) -> None:
        self._model = model
        self._template = template
        self._emit = emit
        self._guard = ControlTextGuard(model, lambda: _special_tokens(header, model))
        self._folds = False
        self._kept: dict[str, Prompt] = {}

    def tokens(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the tokens of the prompt. Raise GenerationError when there is none."""
        return list(self.prompt(messages).tokens)

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """Return the prompt for messages; they, tools and variables are JSON-compatible.

        `tools` are what the model may call, `variables` whatever else the template reads. Raise
        GenerationError when there is no prompt.
        """
        if not messages:
            raise GenerationError("there is nothing to answer")
        key = json.dumps([list(map(dict, messages)), tools, variables])
        if key not in self._kept:
            while len(self._kept) >= _KEPT_PROMPTS:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._make(messages, tools, variables or {})
        return self._kept[key]

    @property
    def takes_tools(self) -> bool:
        """Whether the template tells the model about tools."""
        return self._template is not None and self._template.takes_tools

    def raw_tokens(self, text: str) -> list[int]:
        """Return the tokens of a text that is a prompt already, control tokens included."""
        tokens = self._begun(self._model.tokenize(text, add_special=False, parse_special=True))
        if not tokens:
            raise GenerationError("the prompt is empty")
        return tokens

    @cached_property
    def opens_reasoning(self) -> bool:
        """Whether the template begins every answer inside of reasoning."""
        if self._template is None:
            return False
        try:
            return opens_reasoning(self._template.render([{"role": "user", "content": "?"}]))
        except GenerationError:
            return False  # whoever asks a real question hears about it

    def text_tokens(self, text: str) -> list[int]:
        """Return the tokens of a text on its own, none of them a control token."""
        return self._guard.plain(text)

    def count_text(self, text: str) -> int:
        """Return how many tokens a text is."""
        return len(self.text_tokens(text))

    def _make(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        variables: Mapping[str, Any],
    ) -> Prompt:
        opens = False
        if self._template is None:
            tokens = self._guard.plain(plain_prompt(messages))
        else:
            marked = self._guard.mark(self._foldable(messages))
            marked_tools = self._guard.mark_more(tools)
            prompt = self._template.render(marked, tools=marked_tools, variables=variables)
            tokens, opens = self._guard.tokenize(prompt), opens_reasoning(prompt)
        tokens = self._begun(tokens)
        if not tokens:
            raise GenerationError("the prompt is empty")
        return Prompt(tuple(tokens), opens)

    def _begun(self, tokens: list[int]) -> list[int]:
        """Return the tokens with the one that begins a text, where the model wants it."""
        if self._model.adds_bos and tokens[:1] != [self._model.bos]:
            return [self._model.bos, *tokens]
        return tokens

    def _foldable(self, messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the messages as the template takes them: without system messages where it knows none."""
        assert self._template is not None
        if all(message["role"] != "system" for message in messages) or self._template.takes_system:
            return messages
        if not self._folds:
            self._folds = True
            self._emit(
                Notice(
                    "this model's chat template knows no system prompt: "
                    "it is put in front of the first message instead",
                    topic="system-folded",
                )
            )
        return fold_system(messages)


def _special_tokens(header: GGUFHeader, model: Model) -> set[int]:
    """Return the tokens the file calls special."""
    found = {model.bos, model.eos}
    types = header.array(Key.TOKEN_TYPES)
    if types is not None:
        found |= {match.start() for match in _NOT_ORDINARY.finditer(_as_bytes(types.decode()))}
    return {token for token in found if 0 <= token < model.vocabulary_size}


def _as_bytes(numbers: list[Any]) -> bytes:
    """Return small numbers as bytes, others as 0."""
    try:
        return bytes(numbers)
    except (TypeError, ValueError):
        return bytes(number if number in range(256) else 0 for number in numbers)
