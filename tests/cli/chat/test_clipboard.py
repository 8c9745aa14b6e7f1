"""The clipboard: a program of the desktop takes the text, or the terminal when asked to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localllm.cli.chat import clipboard
from localllm.errors import LocalLLMError


@pytest.mark.skipif(sys.platform != "linux", reason="the programs of X11")
def test_a_program_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "xclip"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/copied\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert clipboard.copy("text é") == "xclip"
    assert (tmp_path / "copied").read_text("utf-8") == "text é"


def test_without_a_program_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard.shutil, "which", lambda _: None)
    with pytest.raises(LocalLLMError) as caught:
        clipboard.copy("text")
    assert "/copy terminal" in str(caught.value.hint)


def test_a_terminal_gets_it_encoded() -> None:
    assert clipboard.terminal_sequence("\x1b[2J\x07") == "\x1b]52;c;G1sySgc=\x07"
    with pytest.raises(LocalLLMError):
        clipboard.terminal_sequence("x" * 100_000)
