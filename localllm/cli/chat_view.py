"""The chat on the terminal: reads messages, prints answers, and turns Ctrl-C into "stop this answer"."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from localllm.chatting import Chat
from localllm.cli.answers import print_answer
from localllm.cli.output import Output
from localllm.engine import Chunk, FinishReason
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
            if out.as_json:
                answers.append(_collect(chat.ask(message)))
                last = answers[-1]["finish_reason"]
            else:
                _, chunk = print_answer(chat.ask(message))
                last = chunk.finish_reason
        if last == FinishReason.INTERRUPTED:
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
            _, last = print_answer(chat.ask(message))
    except LocalLLMError as error:
        out.notice(error.message, error.hint)
        return
    if last.finish_reason is FinishReason.INTERRUPTED:
        out.status("(stopped)")
    _show_statistics(last, chat, out)


def _show_statistics(last: Chunk, chat: Chat, out: Output) -> None:
    statistics = last.statistics
    if statistics is not None:
        used = statistics.prompt_tokens + statistics.completion_tokens
        out.status(
            f"[{statistics.completion_tokens} tokens, {statistics.generation_tokens_per_second:.0f} tokens/s, "
            f"context {used}/{chat.engine.context_size}]"
        )


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


def _collect(chunks: Iterator[Chunk]) -> dict[str, Any]:
    """Return an answer as data, under the names every measurement uses."""
    parts: list[str] = []
    data: dict[str, Any] = {}
    for chunk in chunks:
        parts.append(chunk.text)
        if chunk.statistics is not None:
            statistics = chunk.statistics
            data = {
                "finish_reason": chunk.finish_reason,
                "prompt_tokens": statistics.prompt_tokens,
                "completion_tokens": statistics.completion_tokens,
                "time_to_first_token_seconds": statistics.time_to_first_token_seconds,
                "prompt_tokens_per_second": statistics.prompt_tokens_per_second,
                "generation_tokens_per_second": statistics.generation_tokens_per_second,
            }
    return {"text": "".join(parts), **data}
