"""Commands about what was said: answer again, take back, copy, attach."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from localllm.cli.chat import clipboard
from localllm.cli.chat.attachments import attach, with_attachments
from localllm.cli.chat.commands import Command
from localllm.cli.chat.looks import looks_of
from localllm.cli.chat.talk import Talk
from localllm.cli.chat.typed import unquoted
from localllm.conversation import Role
from localllm.errors import UsageError
from localllm.sessions import first_words

_NOTHING = "-"
_CODE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n(.*?)^\1[`~]*[ \t]*$", re.MULTILINE | re.DOTALL)


def ask(talk: Talk, message: str) -> None:
    """Send a message with what is attached and show the answer."""
    talk.answer(talk.chat.ask(with_attachments(message, talk.attachments)))
    talk.attachments.clear()


def regenerate(talk: Talk, _argument: str = "") -> None:
    """Answer the last message anew."""
    talk.answer(talk.chat.regenerate())


def edit(talk: Talk, argument: str) -> None:
    """Put another text in place of the last message and answer it; without one, offer the old for editing."""
    if argument:
        talk.answer(talk.chat.edit(unquoted(argument)))
        return
    question = next((m for m in reversed(talk.chat.messages) if m.role is Role.USER), None)
    if question is None:
        raise UsageError("nothing was asked yet")
    talk.draft, talk.is_editing = question.content, True


def undo(talk: Talk, _argument: str) -> None:
    """Take the last message and its answer back."""
    question = talk.chat.undo()
    if question is None:
        raise UsageError("nothing was asked yet")
    talk.screen.status(f"took back: {first_words(question.content)}")


def clear(talk: Talk, _argument: str) -> None:
    """Begin a new conversation."""
    name = talk.chat.name
    talk.chat.clear()
    talk.attachments.clear()
    talk.screen.status(f"a new conversation begins{f'; the old one is `{name}`' if name else ''}")


def copy(talk: Talk, argument: str) -> None:
    """Put the last answer, or the last code in it, on the clipboard."""
    words = argument.split()
    unknown = next((word for word in words if word not in ("code", "terminal")), None)
    if unknown is not None:
        raise UsageError(f"`/copy` does not know `{unknown}`", hint="`/copy`, `/copy code`, `/copy terminal`")
    text = _last_answer(talk)
    if "code" in words:
        blocks = _CODE.findall(text)
        if not blocks:
            raise UsageError("there is no code in the last answer")
        text = blocks[-1][1].removesuffix("\n")
    if "terminal" in words:
        _copy_through_terminal(text)
        talk.screen.status("handed to the terminal; not every one takes it")
    else:
        talk.screen.status(f"copied {len(text)} characters with {clipboard.copy(text)}")


def attach_file(talk: Talk, argument: str) -> None:
    """Put a text file into the next message, take all out again, or list them."""
    if argument == _NOTHING:
        talk.attachments.clear()
        talk.screen.status("nothing is attached")
    elif argument:
        path = Path(_without_quotes(argument)).expanduser()
        found = attach(path, talk.chat.engine, talk.attachments, context_size=talk.largest_context)
        talk.attachments.append(found)
        talk.screen.status(f"{found.name}, {found.tokens} tokens, goes with the next message")
    elif talk.attachments:
        talk.screen.rows([(each.name, f"{each.tokens} tokens") for each in talk.attachments])
    else:
        talk.screen.line("nothing is attached; `/attach FILE` puts a text file into the next message")


def _last_answer(talk: Talk) -> str:
    answer = next((m for m in reversed(talk.chat.messages) if m.role is Role.ASSISTANT), None)
    if answer is None:
        raise UsageError("there is no answer yet")
    return answer.content


def _copy_through_terminal(text: str) -> None:
    stream = next((each for each in (sys.stdout, sys.stderr) if looks_of(each).moves), None)
    if stream is None:
        raise UsageError("there is no terminal that could copy anything")
    stream.write(clipboard.terminal_sequence(text))
    stream.flush()


def _without_quotes(text: str) -> str:
    """A path dragged onto a terminal comes in quotes, or with its spaces escaped."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return (
        text if sys.platform == "win32" or Path(text).expanduser().exists() else re.sub(r"\\(.)", r"\1", text)
    )


TALK_COMMANDS = (
    Command("regen", "", "answer the last message anew", regenerate),
    Command("edit", "[TEXT]", "change the last message and answer it", edit),
    Command("undo", "", "take the last message and its answer back", undo),
    Command("clear", "", "begin a new conversation", clear),
    Command("copy", "[code|terminal]", "put the last answer, or its last code, on the clipboard", copy,
            lambda _talk, begun: [word for word in ("code", "terminal") if word.startswith(begun)]),
    Command("attach", "[FILE]", "put a text file into the next message; `-` takes it out", attach_file,
            takes_path=True),
)  # fmt: skip
