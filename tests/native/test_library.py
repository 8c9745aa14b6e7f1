"""What is set before llama.cpp loads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from localllm.events import Emit
from tests.cli.process import ROOT

SHOW = """
import ctypes, os
from localllm.native.library import ggml, llama
{load}()
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print((getenv(b"GOMP_SPINCOUNT") or b"unset").decode())
"""


CHILD = """
from localllm.native.library import llama
from localllm.native.worker import run_job
llama()
print(run_job("tests.native.test_library:spin_job", {}))
"""


def spin_job(arguments: dict[str, Any], emit: Emit) -> str | None:
    """What a child finds before it loads llama.cpp itself."""
    return os.environ.get("GOMP_SPINCOUNT")


@pytest.mark.parametrize(("given", "seen"), [({}, "None"), ({"GOMP_SPINCOUNT": "1000"}, "1000")])
def test_children_inherit_only_what_the_user_set(given: dict[str, str], seen: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    result = subprocess.run(
        [sys.executable, "-c", CHILD], env={**clean, **given}, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == seen


@pytest.mark.skipif(sys.platform == "win32", reason="getenv of the process is not reachable by name")
@pytest.mark.parametrize("load", ["llama", "ggml"])
@pytest.mark.parametrize(
    ("given", "seen"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "unset")],
)
def test_waiting_threads_spin_shortly_unless_told_otherwise(
    load: str, given: dict[str, str], seen: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    result = subprocess.run(
        [sys.executable, "-c", SHOW.format(load=load)],
        env={**clean, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == seen


def test_no_test_loads_llama_cpp_before_that() -> None:
    """One file that imports the binding when it is collected makes every test in its process spin long."""
    binding = re.compile(r"^(import|from) llama_cpp\b", re.MULTILINE)
    files = (ROOT / "tests").rglob("*.py")
    assert [path.name for path in files if binding.search(path.read_text(encoding="utf-8"))] == []
