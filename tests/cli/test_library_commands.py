"""`list`, `show`, `verify`, `rm` and the Tab key as processes: what they print, ask, and exit with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localllm.cli import completion
from localllm.cli.shells import answer
from localllm.library import provenance, usage
from localllm.library.provenance import Made
from localllm.store import models_directory
from tests.cli.process import COMMAND, environment, localllm
from tests.library.places import COMMIT, gguf, put_cached, put_checkpoint, put_stored

REPO = "org/Model-GGUF"
FILES = {"model-q4_k_m.gguf": gguf(), "model-Q8_0.gguf": gguf(payload=b"8" * 1000), "README.md": b"hello"}
SIZE = f"{len(gguf())} B"


def data(*arguments: str) -> Any:
    """Run a command with `--json` and return what it prints."""
    result = localllm(*arguments, "--json")
    content = json.loads(result.stdout)
    assert (content["schema"], content["command"]) == (1, arguments[0])
    return content.get("data", content.get("error"))


def terminal(*arguments: str, columns: int = 80) -> Any:
    pexpect = pytest.importorskip("pexpect", reason="needs a pseudo terminal")
    return pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], *arguments],
        env=environment({"TERM": "xterm", "COLUMNS": str(columns)}),
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=60,
    )


def shown(child: Any) -> str:
    import pexpect

    child.expect(pexpect.EOF)
    child.close()
    return str(child.before).replace("\r\n", "\n")


# list ---------------------------------------------------------------------------------------


def test_the_list_for_people_and_programs() -> None:
    put_cached(REPO, FILES)
    path = put_stored("mine", "Q4_K_M", gguf("gemma3", 131072))
    provenance.record([path], Made("quantize", "x"))
    usage.note_use(path)
    result = localllm("list")
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["name", "level", "size", "architecture", "context", "last", "used", "source"]
    assert lines[3] == ["mine:Q4_K_M", "Q4_K_M", "189", "B", "gemma3", "128K", "just", "now", "quantized"]
    assert [line[0] for line in lines[4:]] == [f"{REPO}:Q8_0", f"{REPO}:Q4_K_M"]
    entries = data("list", "mine")
    assert [(entry["name"], entry["path"], entry["context_length"]) for entry in entries] == [
        ("mine:Q4_K_M", str(path), 131072)
    ]


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_the_list_fits_into_the_terminal(columns: int) -> None:
    put_cached("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", {"m-Q4_K_M.gguf": gguf("llama", 131072)})
    put_cached(REPO, FILES)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown(terminal("list", columns=columns)))
    assert max(map(len, text.splitlines())) <= columns
    assert "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M" in text
    headings = text.splitlines()[0].split()
    assert (
        headings
        == {
            80: ["name", "size", "arch", "last", "used"],
            120: ["name", "level", "size", "architecture", "context", "last", "used", "source"],
        }[min(columns, 120)]
    )


def test_what_is_incomplete_is_told() -> None:
    put_cached(REPO, {"m-Q8_0-00001-of-00002.gguf": gguf()})
    result = localllm("list")
    assert result.stderr == (
        f"note: {REPO}:Q8_0 is incomplete and not listed\n"
        f"hint: `localllm pull {REPO}:Q8_0` downloads the rest; "
        f"`localllm rm {REPO}:Q8_0` removes what is here\n"
    )
    assert [entry["source"] for entry in data("list")] == ["shipped", "shipped"]
    assert localllm("list", "nobody").stderr.startswith("nothing here is called like `nobody`")


def test_hostile_names_do_not_reach_the_terminal() -> None:
    put_stored("mine", "Q8_0", gguf("\x1b[31mred\x1b]0;title\x07"))
    assert "\x1b" not in localllm("list").stdout


# show and verify ----------------------------------------------------------------------------


def test_showing_what_was_pulled_and_what_was_made(narrow_gguf: Path) -> None:
    put_cached(REPO, {"m-F32.gguf": narrow_gguf.read_bytes()})
    result = localllm("show", REPO)
    assert result.returncode == 0, result.stderr
    assert f"commit      {COMMIT} (main)" in result.stdout
    assert "sha256" in result.stdout
    assert "llama" in result.stdout
    path = put_stored("mine", "F32", narrow_gguf.read_bytes())
    provenance.record([path], Made("convert", "./my-finetune", options={"out_type": "f32"}))
    result = localllm("show", "mine")
    assert "made by    localllm convert" in result.stdout
    assert "options    out_type=f32" in result.stdout
    card = data("show", "mine:f32")
    assert card["model"]["made"]["source"] == "./my-finetune"
    assert card["description"]["architecture"] == "llama"


def test_showing_what_is_damaged_tells_where_it_comes_from() -> None:
    repo = put_cached(REPO, {"m-Q8_0.gguf": b"no model"})
    result = localllm("show", REPO)
    assert result.returncode == 0
    assert COMMIT in result.stdout
    assert "it is not a GGUF file" in result.stdout + result.stderr
    assert localllm("show", str(repo.folder)).returncode == 2
    assert localllm("show", "org/none").returncode == 1


def test_verifying_what_is_well_and_what_is_not() -> None:
    repo = put_cached(REPO, FILES)
    put_stored("mine", "Q8_0")
    result = localllm("verify")
    assert result.returncode == 0, result.stderr
    assert "1 checksums were written down, to be compared the next time" in result.stderr
    blob = (repo.snapshot(COMMIT) / "model-Q8_0.gguf").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"9")
    result = localllm("verify", REPO, "mine")
    assert result.returncode == 1
    assert f"damaged: {repo.snapshot(COMMIT) / 'model-Q8_0.gguf'}: its checksum differs" in result.stdout
    assert result.stderr == (
        "error: 1 of 4 files are damaged or changed\n"
        f"hint: `localllm rm {REPO}:Q8_0`, then `localllm pull {REPO}:Q8_0`\n"
    )
    checked = data("verify", REPO)
    assert checked["wrong"] == 1
    assert {file["status"] for file in checked["files"]} == {"ok", "damaged"}


# rm -----------------------------------------------------------------------------------------


def test_nothing_goes_without_asking_or_being_told() -> None:
    put_stored("mine", "Q8_0")
    result = localllm("rm", "mine")
    assert (result.returncode, result.stdout) == (2, "")
    assert "hint: add `--yes`, or `--dry-run` to see what would go" in result.stderr
    result = localllm("rm", "mine", "--dry-run")
    assert (result.returncode, result.stderr) == (0, f"this would free {SIZE}; nothing was removed\n")
    assert data("rm", "mine", "--dry-run")["dry_run"] is True
    assert localllm("rm", "mine", "--yes").stderr == f"freed {SIZE}\n"
    assert localllm("rm", "mine", "--yes").returncode == 1


def test_several_models_at_once_in_json() -> None:
    put_stored("mine", "Q8_0"), put_cached(REPO, FILES)
    removed = data("rm", "mine", f"{REPO}:q8_0", "--yes")
    assert [item["name"] for item in removed["items"]] == ["mine", f"{REPO}:Q8_0"]
    assert removed["freed_bytes"] == len(gguf()) + len(FILES["model-Q8_0.gguf"])


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
def test_a_terminal_is_asked(answer: str, status: int) -> None:
    path = put_stored("mine", "Q8_0")
    child = terminal("rm", "mine")
    child.expect_exact(f"Remove this and free {SIZE}? [y/N]")
    assert str(path) in child.before
    child.sendline(answer)
    shown(child)
    assert (child.exitstatus, path.exists()) == (status, status == 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("rm",),
        ("rm", "./mine-Q8_0.gguf", "--yes"),
        ("rm", "mine", "--all"),
        ("rm", "mine", "--stale"),
        ("rm", "--stale", "--checkpoint"),
        ("rm", "mine:Q8_0", "--checkpoint"),
        ("rm", "kept", "--yes"),
        ("rm", "demo", "--yes"),
    ],
)
def test_misuse(arguments: tuple[str, ...]) -> None:
    path, directory = put_stored("mine", "Q8_0"), put_checkpoint("kept")
    result = localllm(*arguments)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert "hint: " in result.stderr
    assert path.exists()
    assert directory.exists()


def test_cleaning_up_after_a_conversion_that_was_killed(demo_checkpoint: Path) -> None:
    """A real process, killed in the middle, leaves a part behind; the next one clears it away."""
    script = (
        "import os, signal\n"
        "from localllm.publication import publishing\n"
        "from localllm.store import output_path\n"
        "with publishing(output_path('mine', 'Q8_0')) as part:\n"
        "    part.write_bytes(bytes(100_000))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], env=environment(), check=False)
    (part,) = (models_directory() / "mine").iterdir()
    result = localllm("rm", "--stale", "--dry-run")
    assert str(part) in result.stdout
    assert part.exists()
    result = localllm("rm", "--stale")
    assert (result.returncode, result.stderr) == (0, "freed 97.7 KiB\n")
    assert not part.exists()
    assert localllm("rm", "--stale").stderr == "there is nothing to clean up\n"


def test_unfinished_downloads_are_asked_for() -> None:
    blob = put_cached(REPO, FILES).blob("d" * 64)
    blob.write_bytes(b"not linked yet")
    result = localllm("rm", "--stale")
    assert "of unfinished downloads stay" in result.stderr
    assert localllm("rm", "--stale", "--all").returncode == 2
    assert data("rm", "--stale", "--all", "--yes")["freed_bytes"] == len(b"not linked yet")
    assert not blob.exists()


# completion ---------------------------------------------------------------------------------

THROUGH_TYPER = (
    "from localllm.cli.shells import prepare; prepare()\nfrom localllm.cli.app import main; main()"
)
WAYS = {"at once": COMMAND, "through Typer": [sys.executable, "-c", THROUGH_TYPER]}


def complete(way: str, instruction: str, **variables: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        WAYS[way],
        env=environment({"_LOCALLLM_COMPLETE": f"complete_{instruction}", **variables}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert result.stderr == ""
    return result


def fish(way: str, line: str, action: str = "get-args") -> subprocess.CompletedProcess[str]:
    return complete(way, "fish", _TYPER_COMPLETE_ARGS=line, _TYPER_COMPLETE_FISH_ACTION=action)


def bash(way: str, *words: str) -> list[str]:
    result = complete(way, "bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))
    return result.stdout.split()


@pytest.fixture
def some_models() -> None:
    put_stored("mine", "Q4_K_M"), put_stored("mine", "Q8_0"), put_stored("other", "BF16")
    put_cached(REPO, FILES), put_cached("org/tokenizer-only", {"config.json": b"{}"})


@pytest.mark.usefixtures("some_models")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("", ["demo", "demo-persona", "mine", REPO, "other"]),
        ("o", [REPO, "other"]),
        ("mi", ["mine", "mine:Q4_K_M", "mine:Q8_0"]),
        ("mine:", ["mine:Q4_K_M", "mine:Q8_0"]),
        ("mine:Q4", ["mine:Q4_K_M"]),
        ("mine:q", ["mine:q4_k_m", "mine:q8_0"]),
        (f"{REPO}:q8", [f"{REPO}:q8_0"]),
        ("nobody:", []),
        ("./m", []),
        ("--yes mine:Q8_0 oth", ["other", "other:BF16"]),
    ],
)
def test_names_and_levels_behind_the_tab_key(way: str, begun: str, offered: list[str]) -> None:
    line = f"localllm rm {begun}"
    assert fish(way, line).stdout.split() == offered
    assert fish(way, line, "is-args").returncode == (0 if offered else 1)


@pytest.mark.usefixtures("some_models")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("rm", "mi"), ["mine", "mine:Q4_K_M", "mine:Q8_0"]),
        (("rm", "mine", ":"), ["Q4_K_M", "Q8_0"]),
        (("rm", "mine", ":", "q8"), ["q8_0"]),
        (("rm", "mine", ":", "Q8_0", "oth"), ["other", "other:BF16"]),
        (("rm", REPO, ":", "Q"), ["Q8_0", "Q4_K_M"]),
        (("rm", REPO, "@", "main", ":", "Q8"), ["Q8_0"]),
        (("rm", "mine:Q8"), ["mine:Q8_0"]),  # where COMP_WORDBREAKS has no colon
        (("show", "mine", "oth"), []),
        (("rm", "--ye"), ["--yes"]),
        (("sho",), ["show"]),
    ],
)
def test_bash_splits_words_at_colons(way: str, words: tuple[str, ...], offered: list[str]) -> None:
    assert bash(way, "localllm", *words) == offered


@pytest.mark.usefixtures("some_models")
@pytest.mark.parametrize("way", WAYS)
def test_zsh_and_powershell_are_answered_in_their_own_way(way: str) -> None:
    lines = complete(way, "zsh", _TYPER_COMPLETE_ARGS="localllm rm mine:Q").stdout
    quoted = [rf'"mine\\:{level}"' for level in ("Q4_K_M", "Q8_0")]
    assert lines == f"_arguments '*: :(({quoted[0]}\n{quoted[1]}))'\n"
    assert complete(way, "zsh", _TYPER_COMPLETE_ARGS="localllm rm ./").stdout == "_files\n"
    asked = {"_TYPER_COMPLETE_ARGS": "localllm rm mine:Q8", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "mine:Q8"}
    assert complete(way, "powershell", **asked).stdout == "mine:Q8_0::: \n"
    asked = {"_TYPER_COMPLETE_ARGS": "localllm show", "_TYPER_COMPLETE_WORD_TO_COMPLETE": ""}
    assert "mine::: \n" in complete(way, "powershell", **asked).stdout


def test_quoted_words_are_left_to_typer(some_models: None) -> None:
    assert bash("at once", "localllm", "rm", '"mine"', "oth") == ["other", "other:BF16"]
    assert (
        answer({"_LOCALLLM_COMPLETE": "complete_bash", "COMP_WORDS": "localllm\nrm\n'a", "COMP_CWORD": "2"})
        is None
    )
    assert answer({}) is None


@pytest.mark.usefixtures("some_models")
def test_a_real_bash_completes_the_line(tmp_path: Path) -> None:
    pexpect = pytest.importorskip("pexpect", reason="needs a pseudo terminal")
    command = tmp_path / "localllm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m localllm "$@"\n')
    command.chmod(0o755)
    variables = environment({"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    script = subprocess.run(
        [command, "--show-completion", "bash"],
        env={**variables, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "rc").write_text(f"{script}\nbind 'set enable-bracketed-paste off'\nPS1='$ '\necho ready\n")
    child = pexpect.spawn(
        "bash",
        ["--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"],
        env=variables,
        encoding="utf-8",
        timeout=60,
        cwd=tmp_path,
    )
    child.expect("ready")
    child.send("localllm rm mi\t")
    child.expect_exact("ne")
    child.send(":q8\t")
    child.expect_exact("_0 ")
    child.close(force=True)


def test_levels_behind_the_tab_key() -> None:
    assert sorted(completion.complete_level("Q4_K")) == ["Q4_K_M", "Q4_K_S"]
    assert completion.complete_level("Q8_0,q6") == ["Q8_0,q6_k"]
    assert completion.complete_level("re") == ["recommended"]


def test_completing_reads_no_headers_and_loads_nothing_heavy(some_models: None) -> None:
    code = """
import sys
from localllm.cli import completion
from localllm.cli.shells import answer
from localllm.gguf_file import reader
reader.read_header = None
assert completion.complete_model("mine:Q") == ["mine:Q4_K_M", "mine:Q8_0"]
heavy = [name for name in ("numpy", "llama_cpp", "gguf", "huggingface_hub", "typer") if name in sys.modules]
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.returncode == 0, result.stderr
