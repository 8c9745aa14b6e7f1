"""Makes conversations of plain texts, as a chat model sees them: its own template around the paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from localllm.chat_template import ChatTemplate
from localllm.chat_template.of_model import template_of
from localllm.errors import UsageError
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.native.model import Model

_USER, _ASSISTANT = "user", "assistant"
_SPEAKERS = {"question": _USER, "user": _USER, "human": _USER, "answer": _ASSISTANT, "assistant": _ASSISTANT}
_SPEAKER = re.compile(rf"^({'|'.join(_SPEAKERS)})[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_BETWEEN_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
_TURNS = 8  # of one conversation: templates are not made for hundreds

Turn = tuple[str, str]  # role and content


def text_looks_unlike_chat(header: GGUFHeader, chat_format: bool) -> bool:
    """Tell whether a chat model would be evaluated on plain text, which is not what it is used for."""
    return not chat_format and bool(header.text(Key.CHAT_TEMPLATE))


def tokenize_chats(model: Model, header: GGUFHeader, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text as conversations one after the other, with their control tokens.

    Raise UsageError when the model has no chat template, GenerationError when it rejects a conversation.
    """
    template = template_of(model, header.text(Key.CHAT_TEMPLATE))
    if template is None:
        raise UsageError("the model has no chat template", hint="leave `--chat-format` out")
    return [_tokens(model, template, text) for text in texts]


def conversations(text: str) -> Iterator[list[Turn]]:
    """Yield conversations of a few turns each that together hold the paragraphs of a text.

    Paragraphs take turns, the user's first. Lines that begin with a speaker (`Question:`, `Answer:`, `User:`,
    `Assistant:`, `Human:`) begin a turn of that speaker, without the name.
    """
    turns: list[Turn] = []
    for role, content in _spoken(text):
        wanted = role or (_ASSISTANT if turns and turns[-1][0] == _USER else _USER)
        if turns and turns[-1][0] == wanted:
            turns[-1] = (wanted, f"{turns[-1][1]}\n\n{content}")
            continue
        if wanted == _USER and len(turns) >= _TURNS:
            yield turns
            turns = []
        if not turns and wanted == _ASSISTANT:
            turns.append((_USER, "…"))  # templates want the user to begin
        turns.append((wanted, content))
    if turns:
        yield turns


def _spoken(text: str) -> Iterator[tuple[str | None, str]]:
    """Yield what is said, and by whom where the text tells."""
    for paragraph in _BETWEEN_PARAGRAPHS.split(text.strip()):
        pieces = _SPEAKER.split(paragraph)  # before, speaker, said, speaker, said, …
        if pieces[0].strip():
            yield None, pieces[0].strip()
        for speaker, said in zip(pieces[1::2], pieces[2::2], strict=True):
            if said.strip():
                yield _SPEAKERS[speaker.lower()], said.strip()


def _tokens(model: Model, template: ChatTemplate, text: str) -> list[int]:
    tokens: list[int] = []
    for turns in conversations(text):
        messages = [{"role": role, "content": content} for role, content in turns]
        rendered = template.render(messages, open_turn=False)
        tokens += model.tokenize(rendered, add_special=False, parse_special=True)
    if model.adds_bos and tokens[:1] != [model.bos]:
        tokens.insert(0, model.bos)
    return tokens
