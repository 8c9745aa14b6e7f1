"""What answers look like at a terminal, and that nothing in them can steer it; the engine is a stand-in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import ROOT, environment
from tests.cli.scripted import script
from tests.cli.terminal import CTRL_C, CTRL_D, FIGURES, SCRIPTED, Terminal, started

HOSTILE = (
    "a\x1b]0;owned\x07b \x1b]52;c;aGk=\x1b\\c \x1b[2Jd \x1b[?1049he \x9b31mf \x1bP$q\x1b\\g "
    "\x1b]8;;http://x\x07h\x1b]8;;\x07 \x07\x08\x7f\x85\u202ei [bold]j[/bold] \rk"
)
FORBIDDEN = ("\x1b]", "\x1b[2J", "\x1b[?1049h", "\x9b", "\x1bP", "\x07", "\x7f", "\u202e", "31m")
HARMLESS = "ab c d e f g h i [bold]j[/bold] k"
SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\^_=>])")  # no OSC among them


def plain(text: str) -> str:
    """Return what a terminal was sent, without the sequences that style it."""
    return SEQUENCES.sub("", text).replace("\r\n", "\n")


@pytest.mark.parametrize("options", [(), ("--markdown",), ("--think", "show")])
@pytest.mark.parametrize("by_character", [False, True])
def test_no_control_sequence_of_an_answer_reaches_the_terminal(
    options: tuple[str, ...], by_character: bool, tmp_path: Path
) -> None:
    thoughtful = f"<think>{HOSTILE}</think>{HOSTILE}"
    env = script(tmp_path, HOSTILE, thoughtful, by_character=by_character)
    chat = started(tmp_path, "m", *options, command=SCRIPTED, env=env)
    for _ in range(2):
        answer = chat.say("Hello")
        assert HARMLESS in plain(answer)
        assert not any(forbidden in answer for forbidden in FORBIDDEN)
    chat.run("/show", "grammar")
    chat.run("/undo", "took back")
    chat.send("quit\r")
    chat.finish()
    assert "\x1b]" not in chat.shown


def test_reasoning_is_dim_shown_or_hidden(tmp_path: Path) -> None:
    env = script(tmp_path, "<think>\nHm, well.\n</think>\n\nYes.")
    chat = started(tmp_path, "m", command=SCRIPTED, env=env)
    assert "\x1b[2mHm, well.\x1b[22m\r\n\r\nYes." in chat.say("Dim?")
    chat.run("/set think hide", "hide")
    answer = plain(chat.say("Hidden?"))
    assert "Yes." in answer
    assert "Hm" not in answer
    chat.run("/set think show", "show")
    assert "[thinking]\r\nHm, well.\r\n\r\n[answer]\r\nYes." in chat.say("Shown?")
    chat.send("quit\r")
    chat.finish()


def test_a_template_may_open_the_reasoning(tmp_path: Path) -> None:
    env = script(tmp_path, "Hm, well.\n</think>\n\nYes.", opens_reasoning=True, by_character=True)
    chat = started(tmp_path, "m", command=SCRIPTED, env=env)
    assert "\x1b[2mHm, well.\x1b[22m\r\n\r\nYes." in chat.say("Hello")
    chat.send("quit\r")
    chat.finish()


def test_control_c_ends_a_command_and_not_the_chat(tmp_path: Path) -> None:
    chat = started(tmp_path, "m", command=SCRIPTED, env=script(tmp_path, "Yes."))
    chat.send("/model slow\r")
    chat.expect("loading")
    chat.send(CTRL_C)
    chat.expect("stopped")
    chat.await_prompt()
    assert "Yes." in chat.say("Still there?")
    chat.send("quit\r")
    chat.finish()


def test_words_are_kept_whole_and_code_is_left_alone(tmp_path: Path) -> None:
    env = script(tmp_path, "three words here\n```\nthree words here in code\n```", by_character=True)
    chat = started(tmp_path, "m", command=SCRIPTED, env=env, columns=24)
    answer = plain(chat.say("Hello"))
    assert "three words here\n```\nthree words here in code\n```\n" in answer
    chat.send("quit\r")
    chat.finish()
    chat = started(tmp_path, "m", command=SCRIPTED, env=env, columns=12)
    assert "three words\nhere\n```\nthree words here in code\n```\n" in plain(chat.say("Hello"))
    chat.send("quit\r")
    chat.finish()


def test_keys_pressed_during_an_answer_are_the_next_message(tmp_path: Path) -> None:
    env = script(tmp_path, "one two three four five six seven eight nine ten", seconds=0.1)
    chat = started(tmp_path, "m", command=SCRIPTED, env=env)
    chat.send("Hello\r")
    chat.expect("two")
    chat.send("typed ahead")
    assert "typed" not in chat.expect("ten")
    chat.expect("typed ahead")
    chat.send("\r")
    chat.expect(FIGURES)
    chat.send(CTRL_D)
    chat.finish()


def test_control_c_is_quick_and_keeps_what_was_said(tmp_path: Path) -> None:
    env = script(tmp_path, "word " * 200, seconds=0.05)
    chat = started(tmp_path, "m", "--session", "s", command=SCRIPTED, env=env)
    chat.send("Hello\r")
    chat.expect("word word word")
    pressed = time.monotonic()
    chat.send(CTRL_C)
    chat.expect(FIGURES + ".*stopped")
    assert time.monotonic() - pressed < 3  # half a second, and a busy machine
    chat.await_prompt()
    chat.run("/stats", "1 answer")
    chat.send(CTRL_D)
    chat.finish()


def test_several_answers_have_a_line_between_them(tmp_path: Path) -> None:
    chat = started(tmp_path, "m", "--n", "2", command=SCRIPTED, env=script(tmp_path, "first", "second"))
    assert "first\n--- 2 ---\nsecond\n" in plain(chat.say("Hello"))
    chat.send("quit\r")
    chat.finish()


def test_a_file_is_attached_once(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("```\nnested\n```\n")
    (tmp_path / "binary").write_bytes(b"\x00\x01")
    chat = started(
        tmp_path, "m", "--session", "s", command=SCRIPTED, env=script(tmp_path, "ok", context_size=40)
    )
    chat.run(f"/attach {tmp_path}/notes.md", "goes with the next message")
    chat.run(f"/attach {tmp_path}/binary", "null characters")
    (tmp_path / "long").write_text("word " * 100)
    chat.run(f"/attach {tmp_path}/long", "takes 100")
    chat.run(f"/attach {tmp_path}/none", "is not there")
    chat.say("Summarise")
    chat.say("And now?")
    chat.send("quit\r")
    chat.finish()
    (path,) = (Path(environment()["LOCALLLM_HOME"]) / "sessions").glob("s.json")
    said = [m["content"] for m in json.loads(path.read_text())["messages"] if m["role"] == "user"]
    assert said == ["Summarise\n\nnotes.md:\n````md\n```\nnested\n```\n````", "And now?"]


def test_unknown_commands_name_the_nearest(tmp_path: Path) -> None:
    chat = started(tmp_path, "m", command=SCRIPTED, env=script(tmp_path, "ok"))
    chat.run("/rgen", "did you mean `/regen`")
    chat.run("/set tempratur 1", "did you mean temperature")
    chat.run("/set top-p 3", "top_p must be between 0 and 1, not 3")
    chat.run("/set n many", "n must be a whole number, not `many`")
    chat.run("/set json-schema /nowhere", "is not there: /nowhere")
    chat.say("/etc/hosts is a message, like what begins with a space:")
    chat.say(" /help")
    chat.send("quit\r")
    chat.finish()


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_styles_there_are_words_for_them(env: dict[str, str], tmp_path: Path) -> None:
    env |= script(tmp_path, "<think>\nHm.\n</think>\nYes.")
    chat = Terminal(tmp_path, "m", command=SCRIPTED, env=env)
    chat.expect("ends the chat")
    chat.expect(">")
    chat.send("Hello\r")
    answer = chat.expect(FIGURES)
    assert "[thinking]\r\nHm.\r\n\r\n[answer]\r\nYes.\r\n" in answer
    chat.expect(">")
    chat.send("quit\r")
    chat.finish()
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", chat.shown)  # colours, bold, dim
    if env.get("TERM") == "dumb":
        assert "\x1b" not in chat.shown.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "")  # readline's


@pytest.fixture
def tmux() -> Iterator[Any]:
    """Run tmux on a server of its own."""
    program = shutil.which("tmux")
    if program is None:
        pytest.skip("needs tmux")
    server = f"localllm-{uuid.uuid4().hex[:8]}"

    def run(*arguments: str) -> str:
        command = [program, "-L", server, "-f", "/dev/null", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment({"NO_COLOR": ""})
        ).stdout

    yield run
    run("kill-server")


@pytest.mark.parametrize("columns", [80, 200])
def test_markdown_on_a_whole_screen(columns: int, tmux: Any, tmp_path: Path) -> None:
    text = (
        "Some **bold** text.\n\n```python\nx = 1\n```\n\n1. one\n2. two\n\n"
        "[link](https://example.org) &#x202e;&#27;[2J end"
    )
    env = script(tmp_path, text, seconds=0.02, by_character=True)
    command = f"SCRIPT={env['SCRIPT']} {' '.join(SCRIPTED)} chat m --markdown"
    tmux("new-session", "-d", "-s", "s", "-x", str(columns), "-y", "24", command)
    await_text(tmux, "ends the chat")
    tmux("send-keys", "Hello", "Enter")
    screen = await_text(tmux, "tokens, context")
    shown = [line.rstrip() for line in screen.splitlines()]
    begin = shown.index("> Hello") + 1
    assert shown[begin : begin + 8] == [
        "Some bold text.",
        "",
        " x = 1",
        "",
        " 1 one",
        " 2 two",
        "",
        "link (https://example.org) �[2J end",
    ]
    tmux("send-keys", "quit", "Enter")


def await_text(tmux: Any, text: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        screen = str(tmux("capture-pane", "-p", "-t", "s"))
        if text in screen:
            return screen
        time.sleep(0.1)
    raise AssertionError(f"{text!r} is not on the screen:\n{screen}")
