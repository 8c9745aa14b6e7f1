"""The servers that the programs of the guides talk to, and a way to run those programs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guides.page import Program, blocks
from tests.server.conftest import Server, serving

# runs several programs in one process, so that what they import is loaded once
_RUN = """
import runpy, sys
for name in sys.argv[1:]:
    print("=== " + name)
    runpy.run_path(name, run_name="__main__")
"""
_NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def guides_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user who has nothing but this checkout."""
    return {"LOCALLLM_HOME": str(tmp_path_factory.mktemp("guides-home"))}


@pytest.fixture(scope="session")
def demo(guides_home: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`localllm serve demo`, as the pages say."""
    with serving(tmp_path_factory.mktemp("log"), "demo", env=guides_home) as started:
        yield started


@pytest.fixture(scope="session")
def tools_demo(
    demo: Server, guides_home: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The same with the template of the page about agents; after `demo`, whose file it uses."""
    directory = tmp_path_factory.mktemp("tools")
    (template,) = blocks("langchain.md", "jinja")
    (directory / "tools.jinja").write_text(template, encoding="utf-8")
    with serving(directory, "demo", "--template", directory / "tools.jinja", env=guides_home) as started:
        yield started


@dataclass(frozen=True)
class Runner:
    """Runs programs of the guides, in a directory, with real addresses in place of the written ones.

    They reach the two servers and nothing else.
    """

    addresses: Mapping[str, str]

    def outputs(self, directory: Path, programs: Sequence[Program]) -> dict[str, str]:
        """Return what each program prints, by its name."""
        for program in programs:
            self._save(directory, program)
        printed = _python(directory, "-c", _RUN, *(program.name for program in programs))
        return dict(re.findall(r"^=== (\S+)\n(.*?)(?=^=== |\Z)", printed, re.MULTILINE | re.DOTALL))

    def output(self, directory: Path, program: Program, *arguments: str) -> str:
        """Return what a program prints."""
        self._save(directory, program)
        return _python(directory, program.name, *arguments)

    def _save(self, directory: Path, program: Program) -> None:
        text = program.text
        for written, real in self.addresses.items():
            text = text.replace(written, real)
        (directory / program.name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def runner(demo: Server, tools_demo: Server) -> Runner:
    return Runner({"http://127.0.0.1:8080": demo.root, "http://127.0.0.1:8081": tools_demo.root})


def _python(directory: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=_environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout


def _environment() -> dict[str, str]:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _NOWHERE)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("OPENAI_", "LANG"))
    }
    return {**inherited, **proxies, "NO_PROXY": "127.0.0.1", "PYTHONUTF8": "1"}
