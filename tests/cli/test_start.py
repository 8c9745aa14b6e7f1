"""Starting up: help, version, lazy imports, closed pipes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.process import COMMAND, environment, localllm

COMMANDS = ("convert", "quantize", "imatrix", "inspect", "chat", "compare", "card", "list", "demo")
HEAVY = (
    "numpy",
    "llama_cpp",
    "gguf",
    "huggingface_hub",
    "tokenizers",
    "sentencepiece",
    "jinja2",
    "matplotlib",
    "psutil",
)


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from localllm.cli.app import run
run(["--help"])
run(["quantize", "--help"])
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.returncode == 0, result.stderr


def test_inspect_needs_neither_numpy_nor_llama_cpp(demo_files: dict[str, object]) -> None:
    code = f"""
import sys
from localllm.cli.app import run
assert run(["inspect", {str(demo_files["Q8_0"])!r}]) == 0
heavy = [name for name in ("numpy", "llama_cpp", "gguf") if name in sys.modules]
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = localllm(command, "--help")
    assert result.returncode == 0
    assert f"Usage: localllm {command}" in result.stdout
    assert "--help" in result.stdout


def test_no_command_shows_the_help() -> None:
    result = localllm()
    assert result.returncode == 0
    assert all(command in result.stdout for command in COMMANDS)


def test_version_names_llama_cpp_and_the_machine() -> None:
    result = localllm("--version")
    assert result.returncode == 0
    assert "llama-cpp-python 0.3.36" in result.stdout
    assert "features: " in result.stdout
    assert "device: CPU" in result.stdout


def test_a_closed_pipe_is_no_error(demo_files: dict[str, object]) -> None:
    """`localllm inspect … | head -1` ends without a traceback."""
    process = subprocess.Popen(
        [*COMMAND, "inspect", str(demo_files["Q8_0"]), "--tensors"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    _, stderr = process.communicate(timeout=60)
    assert b"Traceback" not in stderr
    assert process.returncode in (0, 1)
