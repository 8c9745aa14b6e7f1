"""Keeps the README's command help and demo table true: writes them, or with --check fails when they differ.

A block `<!-- help: quantize -->` ... `<!-- end -->` holds the output of `localllm quantize --help` at 80
columns. Run without arguments after changing a command.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- help:(?P<command>[^>]*)-->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when out of date")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    current = BLOCK.sub(fill, text)
    if check and current != text:
        print("README.md does not show the commands' current help; run scripts/readme.py", file=sys.stderr)
        return 1
    if not check:
        README.write_text(current, encoding="utf-8")
    return 0


def fill(match: re.Match[str]) -> str:
    """Return the block with the command's present help."""
    return f"{match[1]}```text\n{help_of(match['command'].split())}```\n{match[3]}"


def help_of(words: list[str]) -> str:
    """Return what `localllm WORDS --help` prints at 80 columns."""
    result = subprocess.run(
        [sys.executable, "-m", "localllm", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
    )
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
