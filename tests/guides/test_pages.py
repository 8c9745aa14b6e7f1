"""Every program in the guides runs and prints what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guides.conftest import Runner
from tests.guides.page import NAMES, Program, programs


@pytest.mark.parametrize("page", [name for name in NAMES if programs(name)])
def test_programs_print_what_the_page_says(page: str, runner: Runner, tmp_path: Path) -> None:
    found = [program for program in programs(page) if program.name != "rag.py"]  # test_rag.py has it
    printed = runner.outputs(tmp_path, found)
    assert list(printed) == [program.name for program in found]
    for program in found:
        assert program.printed is not None, f"{page} does not say what {program.name} prints"
        assert program.prints(printed[program.name]), f"{program.name} printed:\n{printed[program.name]}"


def test_what_a_page_says_is_compared() -> None:
    program = Program("x.py", "", "one … three\n")
    assert program.prints("one two three\n")
    assert not program.prints("one two four\n")
    assert not program.prints("one two three\nand more\n")
