"""`chat` without a terminal: prompts, pipes, scripted conversations, sessions, JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import COMMAND, ROOT, environment, localllm
from tests.cli.scripted import script
from tests.cli.terminal import SCRIPTED

GREEDY = ("--temperature", "0")


def sessions() -> list[Path]:
    """Return the saved conversations, in the order of their last change."""
    directory = Path(os.environ["LOCALLLM_HOME"]) / "sessions"
    return sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)


def messages(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["messages"])


def scripted(
    *arguments: str, env: dict[str, str], stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `chat` with a stand-in for the engine."""
    result = subprocess.run(
        [*SCRIPTED, "chat", *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env=environment(env),
        timeout=120,
        check=False,
    )
    assert not check or result.returncode == 0, result.stderr
    return result


# the demo model -------------------------------------------------------------------------------


def test_a_prompt_is_answered_once(demo_files: dict[str, Path]) -> None:
    result = localllm("chat", demo_files["Q8_0"], "What is GGUF?", *GREEDY)
    assert result.returncode == 0, result.stderr
    assert "GGUF" in result.stdout
    assert result.stdout.endswith("\n")
    assert "<|im" not in result.stdout


def test_piped_text_is_one_prompt(demo_files: dict[str, Path]) -> None:
    piped = localllm("chat", demo_files["Q8_0"], *GREEDY, stdin="What is GGUF?\n")
    argument = localllm("chat", demo_files["Q8_0"], "What is GGUF?", *GREEDY)
    assert piped.stdout == argument.stdout


def test_the_demo_remembers_a_name_by_its_library_name() -> None:
    result = localllm("chat", "demo:Q8_0", *GREEDY, stdin="My name is Ada.\nWhat is my name?\nquit\n")
    assert result.returncode == 0, result.stderr
    assert "Ada" in result.stdout.splitlines()[-1]
    assert (Path(os.environ["LOCALLLM_HOME"]) / "models" / "demo" / "demo-Q8_0.gguf").is_file()


def test_a_session_is_saved_and_resumed(demo_files: dict[str, Path]) -> None:
    common = ("chat", demo_files["Q8_0"], *GREEDY, "--session", "me")
    localllm(*common, "My name is Zora.")
    result = localllm(*common, "What is my name?")
    assert "Zora" in result.stdout
    (path,) = sessions()
    assert [message["role"] for message in messages(path)] == ["user", "assistant"] * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_last_conversation_goes_on_with_its_model(demo_files: dict[str, Path], tmp_path: Path) -> None:
    relative = os.path.relpath(demo_files["Q8_0"], tmp_path)
    localllm("chat", relative, "My name is Ada.", *GREEDY, cwd=tmp_path)
    result = localllm("chat", "-c", "What is my name?", cwd=tmp_path.parent)
    assert "Ada" in result.stdout, result.stderr
    assert len(sessions()) == 1


def test_json_has_usage_times_and_the_reason(demo_files: dict[str, Path]) -> None:
    result = localllm("chat", demo_files["Q8_0"], "What is GGUF?", "--max-tokens", "3", "--json")
    data = json.loads(result.stdout)["data"]
    assert data["finish_reason"] == "length"
    assert data["completion_tokens"] == 3
    assert data["prompt_tokens"] > 3
    assert data["cached_tokens"] == 0
    assert data["time_to_first_token_seconds"] > 0
    assert data["prompt_tokens_per_second"] > 0
    assert data["generation_tokens_per_second"] > 0
    assert data["text"]
    assert data["session"] == sessions()[0].stem


def test_a_seed_repeats_an_answer(demo_files: dict[str, Path]) -> None:
    arguments = ("chat", demo_files["Q2_K"], "Hello", "--temperature", "1.5", "--seed", "7", "--no-save")
    assert localllm(*arguments).stdout == localllm(*arguments).stdout


def test_stop_texts_end_an_answer_before_them(demo_files: dict[str, Path]) -> None:
    whole = localllm("chat", demo_files["Q8_0"], "What is GGUF?", *GREEDY).stdout.strip()
    stop = whole[len(whole) // 2 :][:6]
    cut = localllm("chat", demo_files["Q8_0"], "What is GGUF?", *GREEDY, "--stop", stop)
    assert cut.stdout.rstrip("\n") == whole[: whole.index(stop)].rstrip("\n")


def test_control_c_ends_with_130_and_keeps_what_was_said(demo_files: dict[str, Path]) -> None:
    options = ("--temperature", "2", "--top-p", "1", "--top-k", "0", "--min-p", "0", "--seed", "3")
    with subprocess.Popen(
        [*COMMAND, "chat", str(demo_files["Q2_K"]), "Tell me everything.", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(10) == 130
    assert messages(sessions()[0])[1]["finish_reason"] == "interrupted"


# a stand-in -----------------------------------------------------------------------------------


def test_the_prompt_comes_before_what_is_piped(tmp_path: Path) -> None:
    env = script(tmp_path, "Done.")
    result = scripted("m", "Write a commit message:", env=env, stdin="\ndiff --git\n+quit\nquit\n")
    assert result.stdout == "Done.\n"
    assert result.stderr == ""
    (question, _) = messages(sessions()[0])
    assert question["content"] == "Write a commit message:\n\ndiff --git\n+quit\nquit"


def test_bytes_that_are_not_text_are_replaced(tmp_path: Path) -> None:
    result = subprocess.run(
        [*SCRIPTED, "chat", "m"],
        input=b"caf\xe9\xff?\n",
        capture_output=True,
        cwd=ROOT,
        env=environment(script(tmp_path, "Yes.")),
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, b"Yes.\n"), result.stderr
    assert messages(sessions()[0])[0]["content"] == "caf\ufffd\ufffd?"


def test_nothing_is_kept_when_not_to_be_saved(tmp_path: Path) -> None:
    scripted("m", "Hello", "--no-save", env=script(tmp_path, "Hi."))
    assert sessions() == []
    result = scripted("-c", "Hello", env=script(tmp_path, "Hi."), check=False)
    assert result.returncode == 1
    assert "there is no conversation to continue" in result.stderr


def test_reasoning_stays_off_stdout_unless_asked_for(tmp_path: Path) -> None:
    env = script(tmp_path, "<think>\nHm.\n</think>\n\nYes.")
    assert scripted("m", "Hello", env=env).stdout == "Yes.\n"
    assert scripted("m", "Hello", "--think", "hide", env=env).stdout == "Yes.\n"
    assert scripted("m", "Hello", "--think", "show", env=env).stdout == "Hm.\n\nYes.\n"
    data = json.loads(scripted("m", "Hello", "--json", env=env).stdout)["data"]
    assert (data["reasoning"], data["text"]) == ("Hm.", "Yes.")
    assert messages(sessions()[0])[1]["content"] == "Yes."


def test_what_steers_terminals_is_taken_out_of_pipes_too(tmp_path: Path) -> None:
    env = script(tmp_path, "a\x1b]52;c;aGk=\x07b \x1b[2Jc\x9b1md", by_character=True)
    assert scripted("m", "Hello", env=env).stdout == "ab cd\n"


def test_several_answers(tmp_path: Path) -> None:
    env = script(tmp_path, "first", "second one", "third")
    assert scripted("m", "Hello", "--n", "3", env=env).stdout == "first\n---\nsecond one\n---\nthird\n"
    data = json.loads(scripted("m", "Hello", "--n", "2", "--json", env=env).stdout)["data"]
    assert [answer["text"] for answer in data["answers"]] == ["first", "second one"]
    assert [answer["finish_reason"] for answer in data["answers"]] == ["stop", "stop"]
    assert data["completion_tokens"] == 3


@pytest.mark.parametrize(("more", "status"), [((), 0), (("--fail-on-length",), 3)])
def test_a_cut_answer_fails_on_request(more: tuple[str, ...], status: int, tmp_path: Path) -> None:
    env = script(tmp_path, "one two three")
    result = scripted("m", "Hello", "--max-tokens", "2", *more, env=env, check=False)
    assert (result.returncode, result.stdout) == (status, "one two\n")
    assert scripted("m", "Hello", *more, env=env).stdout == "one two three\n"


def test_a_typed_ahead_conversation_takes_commands(tmp_path: Path) -> None:
    env = script(tmp_path, "one two three", "four")
    lines = "/set max-tokens 1\nHello\n/regen\n/unknown is a message\nquit\n"
    result = scripted("m", "--session", "s", env=env, stdin=lines)
    assert result.stdout == "one\nfour\none\n"
    assert "max-tokens  1  given" in result.stderr
    said = messages(sessions()[0])
    assert [message["content"] for message in said] == ["Hello", "four", "/unknown is a message", "one"]


def test_options_are_remembered_with_the_session(tmp_path: Path) -> None:
    env = script(tmp_path, "one two three")
    assert scripted("m", "Hello", "--max-tokens", "2", "--session", "s", env=env).stdout == "one two\n"
    assert scripted("-c", "Hello again", env=env).stdout == "one two\n"
    assert scripted("-c", "Hello again", "--max-tokens", "1", env=env).stdout == "one\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--temperature", "3"), "`--temperature` must be between 0 and 2, not 3"),
        (("--temperature", "hot"), "`--temperature` must be a number, not `hot`"),
        (("--top-p", "-0.1"), "`--top-p` must be between 0 and 1, not -0.1"),
        (("--top-k", "1.5"), "`--top-k` must be a whole number, not `1.5`"),
        (("--min-p", "nan"), "`--min-p` must be between 0 and 1, not nan"),
        (("--max-tokens", "0"), "`--max-tokens` must be between 1 and "),
        (("--presence-penalty", "-3"), "`--presence-penalty` must be between -2 and 2, not -3"),
        (("--frequency-penalty", "2.5"), "`--frequency-penalty` must be between -2 and 2, not 2.5"),
        (("--repeat-penalty", "0"), "`--repeat-penalty` must be between"),
        (("--n", "0"), "`--n` must be between 1 and "),
        (("--seed", "-1"), "`--seed` must be between 0 and "),
        (("--stop", ""), "a stop text must not be empty"),
        (("--logit-bias", "x"), "`--logit-bias` must be ID=VALUE or TEXT=VALUE, not `x`"),
        (("--logit-bias", "x=1000"), "logit_bias of 'x' must be between -100 and 100, not 1000"),
        (("--json-schema", "nowhere.json"), "the file of `--json-schema` is not there: nowhere.json"),
        (("--system", "a", "--persona", "b"), "not both"),
        (("--system", "@nowhere"), "no such file: nowhere"),
        (("--persona", "nobody"), "there is no persona `nobody`"),
        (("-c", "--session", "s"), "--continue and --session contradict each other"),
        (("--session", "s", "--no-save"), "--session and --no-save contradict each other"),
        (("--session", "a:b"), "`a:b` cannot be a session's name"),
        (("--overflow", "burst"), "overflow must be one of compact, drop, stop, not `burst`"),
        (("--think", "loud"), "think must be one of show, dim, hide, not `loud`"),
        (("--context", "many"), "context must be auto or a whole number, not `many`"),
        (("--gpu-layers", "some"), "gpu_layers must be auto, all or a whole number, not `some`"),
        (("--gpu-layers", "-1"), "gpu_layers must be between 0 and"),
        (("--cache-type", "q9"), "cache_type_k must be one of f32"),
        (("--flash-attention", "maybe"), "flash_attention must be one of auto, on, off"),
        (("--cache-type", "f16,q8_0", "--flash-attention", "off"), "needs flash attention"),
        (("--template", "nowhere"), "nowhere"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = scripted("m", "Hello", *arguments, env=script(tmp_path, "Hi."), check=False)
    expected = 1 if "nowhere" in message or "nobody" in message else 2
    assert (result.returncode, result.stdout) == (expected, ""), result.stderr
    first, *rest = result.stderr.splitlines()
    assert message in result.stderr
    assert first.startswith("error: ")
    assert all(line.startswith("hint: ") for line in rest)


def test_nothing_to_answer(tmp_path: Path) -> None:
    result = scripted("m", env=script(tmp_path, "Hi."), stdin=" \n", check=False)
    assert result.returncode == 2
    assert "there is nothing to answer" in result.stderr


def test_whoever_reads_may_stop(tmp_path: Path) -> None:
    env = script(tmp_path, "word " * 100, seconds=0.02)
    with subprocess.Popen(
        [*SCRIPTED, "chat", "m", "Hello"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(env),
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(4) == b"word"
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr.read() == b""
    assert messages(sessions()[0])[1]["content"].startswith("word")


def test_an_open_pipe_is_explained(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*SCRIPTED, "chat", "m", "Hello"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(script(tmp_path, "Hi.")),
        encoding="utf-8",
    ) as process:
        assert process.stderr
        assert process.stdin
        assert "reading standard input" in process.stderr.readline()
        process.stdin.close()
        assert process.wait(30) == 0
