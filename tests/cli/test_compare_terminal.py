"""A comparison at a terminal: the live table, then what stays."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from tests.cli.process import environment
from tests.cli.test_compare_command import COMPARED

pexpect = pytest.importorskip("pexpect", reason="needs a pseudo terminal")

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")  # bold and dim are none
LINE_END = re.compile(r"[\r\n]+|\x1b\[\d*A")


def shown(
    *arguments: str, columns: int = 80, no_colour: bool = False, seconds: str = "0.05", **env: str
) -> str:
    """Return everything that comes to a terminal of so many columns."""
    settings = {"TERM": "xterm-256color", "COLUMNS": str(columns), "NO_COLOR": "1" if no_colour else ""}
    child = pexpect.spawn(
        COMPARED[0],
        [*COMPARED[1:], *arguments],
        env=environment({**settings, "SECONDS": seconds, **env}),
        dimensions=(50, columns),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus in (0, 1), child.before
    return str(child.before)


def final(text: str) -> list[str]:
    """Return the lines behind the last time the live table was taken away."""
    return [line.rstrip() for line in SEQUENCE.sub("", text.rpartition("\x1b[2K")[2]).splitlines()]


def test_a_table_fills_in_and_is_replaced_by_the_whole_one() -> None:
    text = shown("compare", "demo", columns=200)
    assert text.count("\x1b[2K") > 20  # it was redrawn
    live = SEQUENCE.sub("", text.rpartition("\x1b[2K")[0])
    assert "…" in live  # what is not known yet
    assert re.search(r"compare +[━╸╺ ]+ +\d+%", live)
    assert "\x1b[?25h" in text  # the cursor is there again
    lines = final(text)
    headings = " ".join(" ".join(lines[:3]).split())
    assert "KL" in headings
    assert len([line for line in lines if "MiB" in line]) == 13
    assert any("   " in line and "and little else." in line for line in lines)  # answers side by side
    assert all(len(line) <= 200 for line in lines)


def test_eighty_columns_get_several_tables_that_fit() -> None:
    text = shown("compare", "demo", columns=80)
    lines = final(text)
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith("level")]) == 4  # three of figures, one of tasks
    assert len([line for line in lines if line.startswith("Q4_K_M ")]) == 4
    live = text.rpartition("\x1b[2K")[0]
    assert max(len(SEQUENCE.sub("", line)) for line in LINE_END.split(live)) <= 80


def test_no_colour() -> None:
    assert COLOUR.search(shown("compare", "demo", COMPARED="FAILED"))
    assert not COLOUR.search(shown("compare", "demo", no_colour=True, COMPARED="FAILED"))


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_quiet_and_json_show_no_live_table(option: str) -> None:
    assert "\x1b[2K" not in shown("compare", "demo", option)


def test_a_failed_file_is_marked_at_once() -> None:
    text = shown("compare", "demo", COMPARED="FAILED")
    assert "failed" in SEQUENCE.sub("", text.rpartition("\x1b[2K")[0])
    assert "Q5_K_M failed: llama.cpp was killed by signal 9" in final(text)


def test_hostile_names_steer_nothing() -> None:
    assert "\x1b[31m](http" not in shown("compare", "demo", COMPARED="HOSTILE_RESULT")


def test_piped_results_leave_the_live_table_on_the_terminal(tmp_path: Path) -> None:
    line = f"{shlex.join(COMPARED)} compare demo > {shlex.quote(str(tmp_path / 'out'))}"
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", line],
        env=environment({"TERM": "xterm", "SECONDS": "0.05"}),
        dimensions=(50, 100),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    assert "Q2_K" in child.before
    assert "\x1b" not in (tmp_path / "out").read_text(encoding="utf-8")


def test_what_stays_in_eighty_columns() -> None:
    lines = final(shown("compare", "demo", COMPARED="FAILED"))
    assert "\n".join(lines) == snapshot("""\
                      bits        of
                       per       the          cold      peak    memory
level         size  weight  original   load   load    memory  estimate
──────────────────────────────────────────────────────────────────────
Q2_K      1.63 MiB    3.72    23.3 %  10 ms  30 ms  61.6 MiB  56.6 MiB
Q5_K_M    2.63 MiB    6.01         -      -      -         -         -
BF16 ref  7.01 MiB   16.00     100 %  21 ms  41 ms  63.8 MiB  58.8 MiB

level     prompt tok/s  generate tok/s  perplexity  perplexity ratio
────────────────────────────────────────────────────────────────────
Q2_K          5210 ±31          402 ±4  2.14 ±0.04      1.012 ±0.002
Q5_K_M               -               -           -                 -
BF16 ref      3204 ±19          201 ±2  2.12 ±0.04                 -

level      KL divergence      KL p99  same top token      RMS Δp
────────────────────────────────────────────────────────────────
Q2_K      0.0211 ±0.0017  0.30 ±0.06     95.1 ±0.3 %  4.1 ±0.2 %
Q5_K_M                 -           -               -           -
BF16 ref               -           -               -           -
Q5_K_M failed: llama.cpp was killed by signal 9

level     heldout, of 412  heldout: facts, of 326  heldout: memory, of 86
─────────────────────────────────────────────────────────────────────────
Q2_K   90.0 % (93.0–97.5)      96.0 % (93.0–97.5)      95.3 % (89.0–98.0)
BF16   95.4 % (93.0–97.5)      96.0 % (93.0–97.5)      95.3 % (89.0–98.0)

> What is inside a GGUF file?
BF16                                     Q2_K (▸ departs after 7 tokens)

A GGUF file holds the weights, the       A GGUF file holds the weights▸ of a
tokenizer and the metadata of a model.   model, and little else.

speed: 512 tokens read and 128 generated, 5 repetitions, 2 threads
quality against BF16: 3,060 tokens of the model's own text, in 12 windows of
512; ± is one standard error\
""")


def test_what_stays_in_two_hundred_columns() -> None:
    lines = final(shown("compare", "demo", COMPARED="FAILED", columns=200))
    assert "\n".join(lines[:7]) == snapshot("""\
                      bits        of                                                                                                                     same
                       per       the          cold      peak    memory    prompt  generate                perplexity              KL          KL          top         RMS
level         size  weight  original   load   load    memory  estimate     tok/s     tok/s  perplexity         ratio      divergence         p99        token          Δp
─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
Q2_K      1.63 MiB    3.72    23.3 %  10 ms  30 ms  61.6 MiB  56.6 MiB  5210 ±31    402 ±4  2.14 ±0.04  1.012 ±0.002  0.0211 ±0.0017  0.30 ±0.06  95.1 ±0.3 %  4.1 ±0.2 %
Q5_K_M    2.63 MiB    6.01         -      -      -         -         -         -         -           -             -               -           -            -           -
BF16 ref  7.01 MiB   16.00     100 %  21 ms  41 ms  63.8 MiB  58.8 MiB  3204 ±19    201 ±2  2.12 ±0.04             -               -           -            -           -\
""")  # noqa: E501
