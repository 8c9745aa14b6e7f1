"""Renders a conversation with a chat template, in a child process that is ended when it takes too much."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from localllm.chat_template.folding import fold_system
from localllm.errors import GenerationError
from localllm.native.confined import Confined, ConfinementError

TIME_LIMIT_SECONDS = 1.0
MEMORY_LIMIT_MEGABYTES = 512
_SANDBOX = "localllm.chat_template.sandbox"
_PROBE = "Probe4711"  # survives trimming and every kind of quoting
_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}


@functools.cache
def _child() -> Confined:
    return Confined(MEMORY_LIMIT_MEGABYTES, preload=_SANDBOX)


def prepare() -> None:
    """Start the child process that renders, so that the first template does not wait for it."""
    _child().start()


class ChatTemplate:
    """A chat template. Raise GenerationError when it cannot be compiled."""

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            _child().call(f"{_SANDBOX}:check", {"source": source}, TIME_LIMIT_SECONDS)
        except ConfinementError as error:
            raise GenerationError(
                f"the model's chat template is broken: {error.message}",
                hint="give another one with `--template`",
            ) from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        open_turn: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the prompt, by default up to where the assistant's next answer begins (`open_turn`).

        `tools` are descriptions of functions in JSON Schema, `variables` what the template reads besides.

        Raise GenerationError with the template's own message when it rejects the conversation.
        """
        names = {
            **(variables or {}),
            **self._tokens,
            "messages": [dict(message) for message in messages],
            "tools": tools,
            "add_generation_prompt": open_turn,
        }
        try:
            prompt: str = _child().call(
                f"{_SANDBOX}:render", {"source": self.source, "names": names}, TIME_LIMIT_SECONDS
            )
        except ConfinementError as error:
            if error.stopped:
                raise GenerationError(f"the model's chat template {error.message}") from None
            raise GenerationError(
                f"the model's chat template rejects the conversation: {error.message}"
            ) from None
        return prompt

    @functools.cached_property
    def takes_system(self) -> bool:
        """Tell whether system messages arrive in the prompt; some templates refuse or drop them.

        True also where they do not arrive in the user's turn either.
        """
        messages = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "Hello"}]
        for attempt, is_taken in ((messages, True), (fold_system(messages), False)):
            with contextlib.suppress(GenerationError):
                if _PROBE in self.render(attempt):
                    return is_taken
        return True

    @functools.cached_property
    def takes_tools(self) -> bool:
        """Tell whether the descriptions of tools arrive in the prompt."""
        function = {"name": _PROBE, "description": "Probes", "parameters": _NO_PARAMETERS}
        tools = [{"type": "function", "function": function}]
        with contextlib.suppress(GenerationError):
            return _PROBE in self.render([{"role": "user", "content": "Hello"}], tools=tools)
        return False


def plain_prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt for a model without a template: the last user message, to be continued."""
    return str(messages[-1]["content"]) if messages else ""
