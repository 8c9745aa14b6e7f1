"""A process that talks: `python -m tests.sessions.talking SESSION WORDS SECONDS_PER_WORD QUESTION…`.

It answers each question with numbered words, slowly, prints each, and says `held` when it has the session.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from localllm import sessions
from localllm.chatting import Chat
from localllm.engine import Chunk, SamplingOptions
from localllm.engine.base import Messages
from localllm.engine.scripted import ScriptedEngine
from localllm.errors import LocalLLMError
from localllm.events import Notice
from tests.cli.process import environment


class SlowEngine(ScriptedEngine):
    def __init__(self, words: int, seconds: float) -> None:
        super().__init__([" ".join(f"word{number}" for number in range(words))], context_size=1_000_000)
        self._seconds = seconds

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        for chunk in super().stream(messages, options):
            time.sleep(self._seconds)
            yield chunk


def start(
    session: str | Path, words: int, seconds: float, *questions: str, prefix: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Start the process; `prefix` are words in front of its command line."""
    command = [
        *prefix,
        sys.executable,
        "-m",
        "tests.sessions.talking",
        str(session),
        str(words),
        str(seconds),
    ]
    return subprocess.Popen(
        [*command, *questions], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def main(session: str, words: str, seconds: str, *questions: str) -> int:
    try:
        memory = sessions.begin("m") if session == "new" else sessions.open_session(session)
        print("held", flush=True)
        with Chat(
            SlowEngine(int(words), float(seconds)),
            model="m",
            memory=memory,
            emit=lambda event: (
                print("notice:", event.message, flush=True) if isinstance(event, Notice) else None
            ),
        ) as chat:
            for question in questions:
                for chunk in chat.ask(question):
                    print(chunk.text, flush=True)
            print("name:", chat.name, flush=True)
    except LocalLLMError as error:
        print(error.message, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
