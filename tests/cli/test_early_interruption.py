"""Ctrl-C while the program is still being imported: silence and 130, whatever is imported at that moment.

Python can be asked to tell on stderr what it has imported, so the moments are exact on any machine.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import ROOT, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

_SCRIPT = "from localllm.__main__ import main; main()"  # what pip makes of the entry point
STARTS = {"module": ("-m", "localllm"), "script": ("-c", _SCRIPT)}
_LAST = "localllm.cli.app"  # behind it the command line is read


def start(arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start Python with `arguments`; it tells on stderr what it has imported."""
    return subprocess.Popen(
        [sys.executable, "-X", "importtime", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        **options,
    )


def wait_until_imported(process: subprocess.Popen[str], module: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            return
    raise AssertionError(f"{module} was never imported")


def require_silence(process: subprocess.Popen[str]) -> None:
    """It ended as if interrupted, and said nothing but what it was asked to."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    told = [line for line in errors.splitlines() if not line.startswith(("import time:", "note: ", "hint: "))]
    assert told == []


@pytest.mark.parametrize("module", ["localllm.cli", "typer.main", "localllm.cli.output", _LAST])
@pytest.mark.parametrize("how", STARTS)
def test_while_the_command_line_is_imported(how: str, module: str) -> None:
    process = start([*STARTS[how], "list"])
    wait_until_imported(process, module)
    process.send_signal(signal.SIGINT)
    require_silence(process)


@pytest.mark.parametrize(
    "module", ["numpy", "gguf.constants", "localllm.verbs.quantize", "localllm.conversion.prepare"]
)
def test_while_a_command_imports_what_it_needs(module: str, demo_checkpoint: Path) -> None:
    process = start([*STARTS["module"], "quantize", str(demo_checkpoint), "-q", "Q8_0", "--plan"])
    wait_until_imported(process, module)
    process.send_signal(signal.SIGINT)
    require_silence(process)


def test_an_ignored_signal_stays_ignored() -> None:
    """As for what a script starts in the background."""
    process = start(
        [*STARTS["module"], "list", "--json"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    for module in ("localllm.cli", _LAST):
        wait_until_imported(process, module)
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert '"schema": 1' in output


def test_the_installed_command_begins_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"localllm": "localllm.__main__:main"}
