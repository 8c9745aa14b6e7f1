"""What is set before llama.cpp loads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = """
import ctypes, os
from localllm.native.library import ggml, llama
{load}()
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print((getenv(b"GOMP_SPINCOUNT") or b"unset").decode())
"""


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
