"""Compiles the library with GCC or Clang, while localllm is installed (hatch_build.py).

It uses the standard library alone and nothing of localllm: the hook reads it before anything is installed.
The flags are part of the promise that the bytes are ggml's; those of CFLAGS are therefore not taken.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

SOURCES = Path(__file__).with_name("source")
_NAME = "lanes.so"
_FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-fvisibility=hidden")
_FILES: dict[str, tuple[str, ...]] = {  # with what turns their instructions on
    "kernels.c": (),
    "sse2.c": (),
    "avx2.c": ("-mavx2",),
    "avx512.c": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"),
}
_COMPILERS = ("cc", "gcc", "clang")


class NotBuiltError(Exception):
    """The library cannot be built here; the message says why, in one line."""


def build(directory: Path, *, extra: Sequence[str] = ()) -> list[Path]:
    """Make the library and its digest in `directory`; return both. `extra` flags go to compiler and linker.

    They appear under their names when they are complete. Raise NotBuiltError.
    """
    compiler = _compiler()
    try:
        content = _compiled(compiler, extra)
    except OSError as error:
        raise NotBuiltError(f"`{compiler[0]}` did not make them: {error}") from None
    digest = hashlib.sha256(content).hexdigest()
    return [_put(directory / _NAME, content), _put(directory / f"{_NAME}.sha256", digest.encode() + b"\n")]


def _compiled(compiler: Sequence[str], extra: Sequence[str]) -> bytes:
    """Return the library. Raise NotBuiltError or OSError."""
    with tempfile.TemporaryDirectory(prefix="localllm-kernels-", ignore_cleanup_errors=True) as folder:
        objects = [Path(folder) / f"{name}.o" for name in _FILES]
        _run_all(
            [*compiler, *_FLAGS, *flags, *extra, "-c", str(SOURCES / name), "-o", str(target)]
            for (name, flags), target in zip(_FILES.items(), objects, strict=True)
        )
        made = Path(folder) / _NAME
        _run_all([[*compiler, *extra, "-shared", "-o", str(made), *map(str, objects)]])
        return made.read_bytes()


def _compiler() -> list[str]:
    """Return the command of the C compiler: $CC, or what is usual. Raise NotBuiltError."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise NotBuiltError(f"they are for x86-64 processors, and this is {platform.machine() or 'another'}")
    if os.name != "posix":
        raise NotBuiltError("they need GCC or Clang on Linux or macOS")
    asked = os.environ.get("CC")
    command = shlex.split(asked) if asked else [next((name for name in _COMPILERS if shutil.which(name)), "")]
    if not command or not shutil.which(command[0]):
        raise NotBuiltError(f"no C compiler was found (looked for {asked or ', '.join(_COMPILERS)})")
    return command


def _run_all(commands: Iterable[Sequence[str]]) -> None:
    """Run commands side by side. Raise NotBuiltError with what the first that failed said."""
    started = [list(command) for command in commands]
    running = [
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )
        for command in started
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    for command, process, text in zip(started, running, said, strict=True):
        if process.returncode != 0:
            lines = text.strip().splitlines() or ["it said nothing"]
            why = next((line for line in lines if "error" in line), lines[0])
            raise NotBuiltError(f"`{command[0]}` did not compile them: {why}")


def _put(path: Path, content: bytes) -> Path:
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    part.write_bytes(content)
    return part.replace(path)
