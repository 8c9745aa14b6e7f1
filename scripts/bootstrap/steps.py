"""What every part of set-up uses: where things are, how commands are run, one set-up at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = ROOT / "requirements"
VENV = ROOT / ".venv"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")


class SetupError(Exception):
    """Set-up cannot go on; the message says why and what to do."""


def say(line: str) -> None:
    print(line, flush=True)


def base_python() -> str:
    """The Python that this one, possibly of an active virtual environment, was made from."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def pip_install(what: str, *arguments: str, hashes: bool = True, binary: bool = True) -> None:
    say(f"Installing {what}")
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--require-hashes"] if hashes else []
    command += ["--only-binary", ":all:"] if binary else []
    run([*command, *arguments], f"installing {what}")


def run(command: Sequence[str], doing: str) -> None:
    """Run `command` in silence; when it fails, show all it said."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SetupError(f"{done.stdout.rstrip()}\n\nSet-up stopped while {doing} (exit {done.returncode})")


def environment() -> dict[str, str]:
    """The user's variables without those that would make pip or Python look or write elsewhere."""
    elsewhere = {
        "PYTHONHOME",
        "PYTHONPATH",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_NO_BINARY",
    }
    return {name: value for name, value in os.environ.items() if name not in elsewhere}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


@contextlib.contextmanager
def exclusive(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock that the system releases with the process; say `waiting` when somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if WINDOWS:
            yield  # two set-ups at once are the user's to avoid there
            return
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
