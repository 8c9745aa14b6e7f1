"""Translates a chat template into the language of Ollama's TEMPLATE, and checks it before anybody uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localllm.chat_template import ChatTemplate
from localllm.errors import GenerationError
from localllm.export.conversations import CONVERSATIONS, PADDED, REASONED, Conversation
from localllm.export.go_template import GoTemplate, GoTemplateError
from localllm.export.go_writing import go_template
from localllm.export.ollama_rendering import collated, render
from localllm.export.turns import NoTurnsError, Turns, prompt_of, turns_of


@dataclass(frozen=True)
class Translation:
    """A Go template that makes the same prompts, and in what it differs otherwise.

    `source` is None where there is none; `problem` then says why. `checked` is the number of conversations
    that were compared byte by byte, `turns` what was found around messages.
    """

    source: str | None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    checked: int = 0
    turns: Turns | None = None


def translate(template: ChatTemplate, *, bos: str) -> Translation:
    """Return the translation of a template, checked on ten conversations.

    `bos` is the text that the tokenizer puts in front of every prompt, "" where it adds none: Ollama has it
    added too, and the translation leaves it out. Raise nothing: what cannot be translated is told.
    """
    try:
        turns = turns_of(template, bos=bos)
        source = go_template(turns)
        made = GoTemplate(source)
        for conversation in CONVERSATIONS:
            if not _agrees(template, made, conversation, bos):
                return Translation(None, "its prompts are more than turns put one behind the other")
    except NoTurnsError as error:
        return Translation(None, str(error))
    except (GenerationError, GoTemplateError) as error:
        return Translation(None, getattr(error, "message", str(error)))
    return Translation(source, None, tuple(_notes(template, made, bos)), len(CONVERSATIONS), turns)


def _agrees(template: ChatTemplate, made: GoTemplate, conversation: Conversation, bos: str) -> bool:
    wanted = prompt_of(template, collated(conversation), bos=bos)
    return render(made, conversation) == wanted


def _notes(template: ChatTemplate, made: GoTemplate, bos: str) -> Sequence[str]:
    """Return what the model's own template does besides."""
    notes = []
    for conversation, what in (
        (PADDED, "strips white space around messages, which Ollama's cannot"),
        (REASONED, "leaves the reasoning of earlier answers out, which Ollama's cannot"),
    ):
        try:
            is_same = _agrees(template, made, conversation, bos)
        except GenerationError:
            continue
        if not is_same:
            notes.append(f"the model's own template {what}")
    if "strftime_now" in template.source:
        notes.append("the model's own template writes the current date, this one that of the export")
    if not template.takes_system:
        notes.append("the model's own template takes no system prompt: it stands in the user's message")
    if "tools" in template.source:
        notes.append("tool calls are left out")
    return notes
