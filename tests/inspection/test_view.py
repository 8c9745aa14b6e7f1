"""How a description is laid out: in a terminal of any width, in colour, in a pipe, in plain ASCII."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from localllm.cli.facts import Fact, Item, Row, Section, print_sections
from localllm.cli.inspection_view import show_description
from localllm.cli.output import Output
from localllm.gguf_file.format import Key
from localllm.gguf_file.writer import float32, string, uint32
from localllm.inspection import HeaderFile, describe_set, join_headers
from localllm.native.library import Device
from tests.cli.process import localllm
from tests.inspection.headers import header, model

_STYLE = re.compile("\x1b\\[[0-9;]*m")
LONG = " ".join(f"word{number}" for number in range(40))


def in_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    sections: list[Section],
    *,
    colour: bool = False,
) -> str:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    if colour:
        monkeypatch.delenv("NO_COLOR")
    print_sections(Output("inspect"), sections)
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 200])
def test_long_values_are_broken_between_words(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = [Section("Title", [Fact("label", LONG), Fact("longer label", "short")])]
    lines = _STYLE.sub("", in_terminal(capsys, monkeypatch, columns, sections)).splitlines()
    assert lines[0] == "Title"
    assert lines[1].startswith("  label         word0 word1")
    assert all(line.startswith(" " * 16 + "word") for line in lines[2:-1])
    assert all(len(line) <= min(columns, 120) for line in lines)
    assert " ".join(line.strip() for line in lines[1:-1]) == f"label         {LONG}"
    assert lines[-1] == "  longer label  short"


def test_wide_characters_take_two_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.cells import cell_len

    sections = [Section("Title", [Fact("label", "漢字漢字 " * 20)])]
    lines = _STYLE.sub("", in_terminal(capsys, monkeypatch, 80, sections)).splitlines()
    assert len(lines) > 3
    assert all(cell_len(line) <= 80 for line in lines)


def test_a_word_longer_than_the_line_stays_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/" + "x" * 100
    sections = [Section("Title", [Fact("file", f"{path} and 2 more")])]
    assert path in _STYLE.sub("", in_terminal(capsys, monkeypatch, 80, sections)).replace("\n", "")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_texts_steer_nothing_and_are_no_markup(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "[red]a[/red]\x1b]0;title\x07\x1b[2Jb\nc"
    sections = [Section(evil, [Fact(evil, evil), Row(evil), Item(evil, evil)])]
    if is_terminal:
        text = _STYLE.sub("", in_terminal(capsys, monkeypatch, 80, sections))
    else:
        print_sections(Output("inspect"), sections)
        text = capsys.readouterr().out
    lines = text.splitlines()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert lines[0] == "[red]a[/red]b c"
    assert len(lines) == 5
    assert all("[red]a[/red]b c" in line for line in lines)


def test_colour_only_where_it_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = [Section("Title", [Fact("label", "value", bar="###")])]
    assert "\x1b[36m" not in in_terminal(capsys, monkeypatch, 80, sections)
    assert "\x1b[36m###" in in_terminal(capsys, monkeypatch, 80, sections, colour=True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    print_sections(Output("inspect"), sections)
    assert capsys.readouterr().out == "Title\n  label  ### value\n".replace("### ", "###")


def test_json_prints_no_sections(capsys: pytest.CaptureFixture[str]) -> None:
    print_sections(Output("inspect", as_json=True), [Section("Title", [Row("line")])])
    assert capsys.readouterr().out == ""


def test_sections_without_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_sections(Output("x"), [Section("A", [Row("1")]), Section("B", []), Section("C", [Row("2")])])
    assert capsys.readouterr().out == "A\n  1\n\nC\n  2\n"


def test_bars_without_block_characters(made: Path) -> None:
    result = localllm(
        "inspect", made / "demo-Q4_K_M.gguf", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert result.returncode == 0
    shares = [line for line in result.stdout.splitlines() if line.startswith(("  Q4_K ", "  Q6_K "))]
    assert [line.count("#") for line in shares] == [16, 8]
    assert "█" not in result.stdout
    assert "?" not in "".join(shares)


def described(capsys: pytest.CaptureFixture[str], *devices: Device) -> list[str]:
    extra = {
        "llama.rope.scaling.type": string("yarn"),
        "llama.rope.scaling.factor": float32(4.0),
        "llama.rope.scaling.original_context_length": uint32(1024),
        "llama.attention.sliding_window": uint32(512),
        "llama.expert_count": uint32(8),
        "llama.expert_used_count": uint32(2),
    }
    found = model(extra)
    show_description(
        Output("inspect"), describe_set(join_headers("m.gguf", [HeaderFile("m.gguf", found)]), devices)
    )
    return capsys.readouterr().out.splitlines()


def test_what_a_model_is_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {line[2:17].strip(): line[18:].strip() for line in described(capsys) if line.startswith("  ")}
    assert facts["experts"] == "8 in a layer, 2 work on a token"
    assert facts["positions"] == "yarn x 4 from 1,024 tokens"
    assert facts["sliding window"] == "512 tokens, which llama.cpp does not use in this architecture"
    assert facts["GPU"] == "none that llama.cpp can use"


def test_what_a_gpu_holds_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    gpu = Device("CUDA0", "Large Card", 8 * 2**30, 24 * 2**30, is_gpu=True)
    lines = described(capsys, gpu)
    assert lines[-1].endswith(
        "Large Card, 8.00 GiB free: 3 of 3 layers fit at 4,096 tokens (`--gpu-layers 3`)"
    )
    assert any(line.endswith("GPU, memory") for line in lines)


def test_a_projector_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    found = header(
        {
            str(Key.TYPE): string("mmproj"),
            "clip.vision.projector_type": string("mlp"),
            "clip.vision.block_count": uint32(24),
            "clip.vision.image_size": uint32(336),
            "clip.vision.patch_size": uint32(14),
        },
        {"v.weight": ((64, 64), "F16")},
        architecture="clip",
    )
    show_description(Output("inspect"), describe_set(join_headers("p.gguf", [HeaderFile("p.gguf", found)])))
    text = capsys.readouterr().out
    assert text.startswith("p.gguf (projector for a language model)\n")
    assert "Vision encoder\n  projector     mlp\n  layers        24\n" in text
    assert "336 x 336 pixels in patches of 14" in text
