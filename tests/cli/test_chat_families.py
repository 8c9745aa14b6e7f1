"""A chat of ten lines with every family: killed, it goes on as if nothing had happened."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from localllm import sessions
from localllm.chatting import Chat, Memory
from localllm.conversion.convert import convert
from localllm.engine import SamplingOptions
from localllm.engine.engine_options import EngineOptions
from localllm.engine.llama import LlamaEngine
from localllm.gguf_file import read_header
from localllm.inspection.gguf_description import describe
from tests.cli.process import localllm
from tests.conversion.tiny_families import FAMILIES, write_tiny_family

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")

LINES = [f"Tell me {number}" for number in range(1, 11)]
NEXT, LAST = "And now?", "And then?"
LONGEST = 4  # tokens of an answer
BLANK = ("\n", " ")  # an answer of these alone would be none


@pytest.mark.parametrize("name", FAMILIES)
def test_ten_lines_killed_and_resumed(name: str, tmp_path: Path) -> None:
    from tests.cli.terminal import started

    model = convert(write_tiny_family(tmp_path / name, name), output=tmp_path / "model.gguf").path
    expected, _ = answers(model, [*LINES, NEXT, LAST])

    options = ["--temperature", "0", "--max-tokens", str(LONGEST), "--threads", "1"]
    options += [part for text in BLANK for part in ("--logit-bias", f"{text}=-100")]
    terminal = started(tmp_path, model, *options)
    terminal.child.delaybeforesend = None  # each line waits for its prompt
    for line in LINES:
        terminal.say(line)
    terminal.kill()
    assert saved_answers() == [answer for answer in expected[:10] if answer]  # without one a line is undone

    result = localllm("chat", "-c", NEXT, "--json", *options)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    assert (data["text"], data["cached_tokens"]) == (expected[10], 0)  # nothing was kept of what it had read

    (session,) = sessions.session_files()
    found, cached = answers(model, [LAST], sessions.open_session(str(session)))
    assert found == expected[11:]
    # the end of an answer that was cut is not what the template makes of it: not every state can forget it
    dimensions = describe(read_header(model), "model").dimensions
    assert dimensions is not None
    assert cached > 0 or dimensions.window is not None or dimensions.recurrence is not None


def answers(model: Path, questions: list[str], memory: Memory = None) -> tuple[list[str], int]:
    """Ask questions in one conversation; return the answers, and the tokens of the last not read again."""
    biases = tuple((text, -100.0) for text in BLANK)
    options = SamplingOptions(temperature=0.0, max_tokens=LONGEST, logit_bias=biases)
    with (
        LlamaEngine(model, EngineOptions(threads=1)) as engine,
        Chat(engine, options=options, model="m", memory=memory) as chat,
    ):
        found = ["".join(chunk.text for chunk in chat.ask(question)) for question in questions]
        assert chat.last_statistics is not None
        return found, chat.last_statistics.cached_tokens


def saved_answers() -> list[str]:
    """Return the answers of the only conversation on disk."""
    (path,) = sessions.session_files()
    messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
    return [message["content"] for message in messages if message["role"] == "assistant"]
