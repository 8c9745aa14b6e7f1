"""Tables fit the terminal they are shown in, and nothing is ever cut off."""

from __future__ import annotations

import re
import sys

import pytest

from localllm.cli.tables import print_table

HEADINGS = ("level", "bits per weight", "file")
PATH = "/home/somebody/models/demo-Q4_K_M.gguf"


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")  # rich takes a dumb terminal for 80 columns wide
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(HEADINGS, [("Q4_K_M", "4.82", PATH)], numeric=("bits per weight",))
    return re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def test_a_wide_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(capsys, monkeypatch, 100)
    assert lines[0].split() == ["level", "bits", "per", "weight", "file"]
    assert lines[2].split() == ["Q4_K_M", "4.82", PATH]


def test_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(capsys, monkeypatch, 40)
    assert all(len(line) <= 40 for line in lines)
    folded = [line.split()[-1] for line in lines[lines.index("─" * 40) + 1 :]]
    assert "".join(folded) == PATH


def test_a_very_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(capsys, monkeypatch, 20)[1].split() == ["Q4_K_M", "4.82", PATH]
