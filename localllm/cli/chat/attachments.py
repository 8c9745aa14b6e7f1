"""Text files that go into the next message, each in a fenced block under its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm.cli.chat.text_files import read_text_file
from localllm.control_filter import clean
from localllm.engine import Engine
from localllm.errors import UsageError

_BYTES_PER_TOKEN = 64  # no tokenizer makes fewer tokens of text than one for so many
_ANSWER_ROOM = 0.25  # of the context is kept for the answer


@dataclass(frozen=True)
class Attachment:
    """A file that was read."""

    name: str
    text: str
    tokens: int


def attach(path: Path, engine: Engine, attached: Sequence[Attachment], *, context_size: int) -> Attachment:
    """Read `path` if it fits into a context of `context_size` tokens with what is attached already.

    Raise NotFoundError or UsageError: it is not text, or too large.
    """
    room = int(context_size * (1 - _ANSWER_ROOM)) - sum(other.tokens for other in attached)
    text = read_text_file(path, "the attachment", max_bytes=context_size * _BYTES_PER_TOKEN)
    tokens = engine.count_text(text)
    if tokens > room:
        raise UsageError(
            f"{path.name} takes {tokens} tokens, and of the context's {context_size} only "
            f"{max(room, 0)} are free for it",
            hint="attach a part of it, or choose a larger `--context`",
        )
    return Attachment(clean(path.name).replace("\n", " "), text, tokens)


def with_attachments(message: str, attachments: Sequence[Attachment]) -> str:
    """Return a message with its attachments behind it."""
    return "\n\n".join([message, *(_block(each) for each in attachments)])


def _block(attachment: Attachment) -> str:
    longest = max(map(len, re.findall(r"^`{3,}", attachment.text, re.MULTILINE)), default=2)
    fence = "`" * (longest + 1)
    language = Path(attachment.name).suffix.lstrip(".")
    newline = "" if attachment.text.endswith("\n") else "\n"
    return f"{attachment.name}:\n{fence}{language}\n{attachment.text}{newline}{fence}"
