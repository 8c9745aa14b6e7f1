"""The chat on the terminal: reads messages, prints answers, and turns Ctrl-C into "stop this answer"."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from localllm.chatting import Chat
from localllm.cli.output import Output
from localllm.engine import FinishReason
from localllm.errors import LocalLLMError, UsageError

QUIT_WORDS = ("quit", "/quit", "exit", "/exit")
_PROMPT = "> "


def converse(chat: Chat, text: str, out: Output) -> None:
    """Answer piped input or a PROMPT: one message, or one a line when the last line is `quit`."""
    lines = [line for line in text.splitlines() if line.strip()]
    scripted = bool(lines) and lines[-1].strip().lower() in QUIT_WORDS
    messages = lines[:-1] if scripted else [text.strip("\n")]
    if not scripted and not text.strip():
        raise UsageError("there is nothing to answer", hint="give a PROMPT or pipe one in")
    answers = []
    for message in messages:
        with _interrupting(chat):
            answers.append(out.answer(chat.ask(message)))
        if answers[-1]["finish_reason"] is FinishReason.INTERRUPTED:
            raise KeyboardInterrupt
    out.data({"answers": answers} if scripted else answers[0] if answers else {})


def interact(chat: Chat, out: Output) -> None:
    """Hold a conversation until `quit` or Ctrl-D."""
    _enable_line_editing()
    out.status(
        f"{chat.engine.name}, context {chat.engine.context_size} tokens; `quit` or Ctrl-D ends the chat"
    )
    if chat.resumed:
        out.status(f"resuming a conversation of {chat.resumed} messages")
    if not chat.engine.has_template:
        out.notice("this model has no chat template: it continues your text instead of answering")
    while True:
        message = _read_message()
        if message is None or message.strip().lower() in QUIT_WORDS:
            return
        if message.strip():
            _answer(chat, message, out)


def _answer(chat: Chat, message: str, out: Output) -> None:
    try:
        with _interrupting(chat):
            answer = out.answer(chat.ask(message))
    except LocalLLMError as error:
        out.notice(error.message, error.hint)
        return
    if answer["finish_reason"] is FinishReason.INTERRUPTED:
        out.status("(stopped)")
    count, speed = answer["completion_tokens"], answer["generation_tokens_per_second"]
    used = answer["prompt_tokens"] + count
    out.status(f"[{count} tokens, {speed:.0f} tokens/s, context {used}/{chat.engine.context_size}]")


def _read_message() -> str | None:
    """Read a line; Ctrl-C discards it, Ctrl-D (or the end of input) returns None."""
    while True:
        try:
            return input(_PROMPT)
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print()


def _enable_line_editing() -> None:
    with suppress(ImportError):  # not on Windows, whose console edits lines itself
        import readline

        readline.set_auto_history(True)


@contextmanager
def _interrupting(chat: Chat) -> Iterator[None]:
    """Make Ctrl-C end the answer. A plain KeyboardInterrupt would be lost inside llama.cpp's callback."""
    before = signal.signal(signal.SIGINT, lambda *_: chat.engine.interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
