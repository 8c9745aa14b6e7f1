"""Goes on with another model: one at a time is in memory, and the one that talked comes back if need be."""

from __future__ import annotations

from collections.abc import Iterator

from localllm.cli.chat.interruption import ControlC
from localllm.cli.chat.model_names import lasting
from localllm.cli.chat.talk import Talk
from localllm.engine import Chunk, SamplingOptions, ScriptedEngine
from localllm.engine.base import Messages
from localllm.errors import GenerationError, LocalLLMError


def switch_model(talk: Talk, reference: str) -> None:
    """Load the model behind `reference` in place of the one that talks; what can go wrong before, does.

    Raise LocalLLMError, or ControlC: then the model is the one before, loaded anew if it was let go.
    """
    talk.require_model(reference)
    chat = talk.chat
    before, name = chat.engine, chat.model
    chat.switch(_Nobody(before.context_size), name)
    before.close()  # both may be too large for the memory of a GPU
    try:
        engine = talk.load_engine(reference)
    except (LocalLLMError, ControlC):
        chat.switch(talk.load_engine(name), name)
        raise
    chat.switch(engine, lasting(reference))


class _Nobody(ScriptedEngine):
    """In place of an engine as long as there is none."""

    def __init__(self, context_size: int) -> None:
        super().__init__([""], context_size=context_size, name="none", can_keep_state=False)

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        raise GenerationError("no model is loaded", hint="`/model NAME` loads one")
