"""A page of docs/guides: the programs on it, and what it says that they print (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "guides"
NAMES = tuple(sorted(path.name for path in DIRECTORY.glob("*.md")))
ANYTHING = "…"  # in what a program prints
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Program:
    """A program: its file's name, its text, and what stands behind it as its output, if anything does."""

    name: str
    text: str
    printed: str | None

    def prints(self, output: str) -> bool:
        """Whether `output` is what the page says, or nothing is said."""
        if self.printed is None:
            return True
        parts = map(re.escape, self.printed.split(ANYTHING))
        return re.fullmatch(".*?".join(parts), output, re.DOTALL) is not None


def text_of(page: str) -> str:
    return (DIRECTORY / page).read_text(encoding="utf-8")


def programs(page: str) -> list[Program]:
    """Return the Python programs of a page in order. Raise ValueError for one without a name."""
    found = []
    for language, text, printed in _BLOCK.findall(text_of(page)):
        if language != "python":
            continue
        named = _NAMED.match(text)
        if named is None:
            raise ValueError(f"a program in {page} does not begin with its name: {text[:40]}")
        found.append(Program(named[1], text, printed or None))
    return found


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a page that are marked with `language`."""
    return [text for marked, text, _ in _BLOCK.findall(text_of(page)) if marked == language]
