"""Compiles llama-cpp-python once per kind of machine and keeps its wheel for every later set-up."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from steps import (
    LOCKS,
    PYTHON,
    ROOT,
    VENV,
    WINDOWS,
    SetupError,
    base_python,
    digest,
    duration,
    environment,
    exclusive,
    run,
    say,
)

BUILD_LOG = ROOT / ".cache" / "llama-cpp-python-build.log"
BUILD_FLAGS = ("CMAKE_ARGS", "SKBUILD_CMAKE_ARGS", "CC", "CXX", "CFLAGS", "CXXFLAGS")
PROGRESS_SECONDS = 15

NO_COMPILER = """\
No C/C++ compiler was found, and llama-cpp-python has to be compiled: its authors publish source only.
({why})

Install one, then run this again:
  Debian, Ubuntu   sudo apt install build-essential
  Fedora           sudo dnf install gcc gcc-c++
  macOS            xcode-select --install
  Windows          winget install Microsoft.VisualStudio.2022.BuildTools --override
                     "--passive --wait --add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"
                   (scripts/demo and scripts/test are sh: use Git Bash or WSL)

Or take a prebuilt wheel (CPU, CUDA, Metal, Vulkan), then run this again:
  {python} -m venv .venv
  {venv_python} -m pip install --only-binary llama-cpp-python --extra-index-url {wheels} {requirement}
  Which of them suits your machine: https://github.com/abetlen/llama-cpp-python#installation-configuration"""
PREBUILT_WHEELS = "https://abetlen.github.io/llama-cpp-python/whl/cpu"


def llama_requirement() -> str:
    """`llama-cpp-python==X`, as the runtime lock pins it."""
    return llama_lock_entry().split(maxsplit=1)[0]


def llama_lock_entry() -> str:
    """The lines of the runtime lock, hashes included, for llama-cpp-python."""
    lock = (LOCKS / "runtime.lock").read_text(encoding="utf-8")
    entry = re.search(r"^llama-cpp-python==.*(?:\n +--hash.*)+", lock, re.MULTILINE)
    if entry is None:
        raise SetupError("requirements/runtime.lock does not pin llama-cpp-python; run scripts/lock")
    return entry.group() + "\n"


def cached_wheel(requirement: str) -> Path | None:
    wheels = sorted((cache_folder() / wheel_key()).glob("llama_cpp_python-*.whl"))
    whole = [wheel for wheel in wheels if zipfile.is_zipfile(wheel)]
    if whole:
        say(f"{requirement} was compiled before; taking the wheel from {whole[0].parent}")
    return whole[0] if whole else None


def cache_folder() -> Path:
    """Where compiled wheels live between checkouts, or in this one if the user's cache cannot be written."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (base if base.is_absolute() else Path.home() / ".cache") / "localllm" / "wheels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return ROOT / ".cache" / "wheels"


def wheel_key() -> str:
    parts = [llama_lock_entry(), sysconfig.get_platform(), *platform.libc_ver(), processor_features()]
    parts += [f"{name}={os.environ.get(name, '')}" for name in BUILD_FLAGS]
    return digest("\0".join(parts).encode())[:16]


def processor_features() -> str:
    """What decides which instructions a native build may use, in the words of the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = {
        line.partition(":")[2] for line in lines if line.partition(":")[0].strip() in ("flags", "Features")
    }
    if found:
        return " ".join(sorted({word for line in found for word in line.split()}))
    if sys.platform == "darwin":
        query = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor()


def check_compiler(requirement: str) -> None:
    """Stop at once, with the cure, when no compiler can translate a C and a C++ program."""
    why = None
    if WINDOWS:
        installer = Path(os.environ.get("PROGRAMFILES(X86)", "C:/")) / "Microsoft Visual Studio" / "Installer"
        if not shutil.which("cl") and not (installer / "vswhere.exe").exists():
            why = "looked for cl and for Visual Studio's installer"
    else:
        c = "#include <stdio.h>\nint main(void) { return 0; }\n"
        cxx = "#include <vector>\nint main() { return 0; }\n"
        why = failing_compiler("CC", ("cc", "gcc", "clang"), "c", c)
        why = why or failing_compiler("CXX", ("c++", "g++", "clang++"), "c++", cxx)
    if why:
        venv_python, python = (
            (".venv/Scripts/python", "python") if WINDOWS else (".venv/bin/python", "python3")
        )
        raise SetupError(
            NO_COMPILER.format(
                why=why,
                python=python,
                venv_python=venv_python,
                wheels=PREBUILT_WHEELS,
                requirement=requirement,
            )
        )


def failing_compiler(variable: str, names: Sequence[str], language: str, program: str) -> str | None:
    """What is wrong with the compiler that a build would take, or nothing."""
    chosen = os.environ.get(variable)
    command = shlex.split(chosen) if chosen else [next((name for name in names if shutil.which(name)), "")]
    if not command or not shutil.which(command[0]):
        return f"{variable} is `{chosen}`, which is not there" if chosen else f"looked for {', '.join(names)}"
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "program")
        trial = subprocess.run(
            [*command, "-x", language, "-", "-o", target],
            input=program,
            capture_output=True,
            text=True,
            check=False,
        )
    if trial.returncode == 0:
        return None
    said = (trial.stderr.strip().splitlines() or ["it said nothing"])[0]
    return f"`{shlex.join(command)}` cannot translate a one-line program: {said}"


def build_wheel(requirement: str) -> Path:
    """Compile llama-cpp-python with the pinned tools and keep its wheel; of two at once, the second waits."""
    folder = cache_folder() / wheel_key()
    with exclusive(
        folder.parent / f"{folder.name}.lock", f"{requirement} is being compiled by another set-up; waiting"
    ):
        if done := cached_wheel(requirement):
            return done
        flags = os.environ.get("CMAKE_ARGS")
        say("")
        say(f"Compiling {requirement}: its authors publish source only, so llama.cpp is built here.")
        say("This takes about 6 minutes on two cores, once; the wheel is kept for every later set-up.")
        say(
            f"With CMAKE_ARGS={flags}"
            if flags
            else "For a GPU, set CMAKE_ARGS first, such as CMAKE_ARGS=-DGGML_CUDA=on"
        )
        say(f"Log: {BUILD_LOG}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="localllm-build-", ignore_cleanup_errors=True) as work:
            built = compile_in(Path(work))
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{built.name}.part-{os.getpid()}"
            shutil.copyfile(built, part)
            kept = part.replace(folder / built.name)
        say(f"Compiled in {duration(time.monotonic() - started)}; kept in {folder}")
        say("")
        return kept


def compile_in(work: Path) -> Path:
    tools = work / "tools"
    python = tools / PYTHON.relative_to(VENV)
    run([base_python(), "-m", "venv", str(tools)], "making a folder for the build tools")
    lock = ("--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCKS / "native.lock"))
    run([str(python), "-m", "pip", "install", "--quiet", "--no-input", *lock], "installing the build tools")

    sources = work / "llama.lock"
    sources.write_text(llama_lock_entry(), encoding="utf-8")
    command = [str(python), "-m", "pip", "wheel", "--verbose", "--no-input", "--no-deps", "--no-cache-dir"]
    command += ["--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
    command += ["--wheel-dir", str(work / "wheel"), "--requirement", str(sources)]
    path = str(python.parent) + os.pathsep + os.environ.get("PATH", "")
    compile_with_progress(command, environment() | {"PATH": path})
    return next((work / "wheel").glob("llama_cpp_python-*.whl"))


def compile_with_progress(command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Run the build with its output in a file, and a line about every quarter of a minute."""
    BUILD_LOG.parent.mkdir(exist_ok=True)
    started = time.monotonic()
    with BUILD_LOG.open("wb") as log:
        build = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    build.wait(timeout=PROGRESS_SECONDS)
                    break
                say(f"  {duration(time.monotonic() - started)}{compiled_files()}")
        except BaseException:
            build.terminate()
            build.wait()
            raise
    if build.returncode != 0:
        lines = BUILD_LOG.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(f"  {line[:300]}" for line in lines[-40:])
        raise SetupError(f"{tail}\n\nllama-cpp-python did not compile; the whole log is {BUILD_LOG}")


def compiled_files() -> str:
    """`, 120 of 264 steps` from the build's own counter, once it counts."""
    with BUILD_LOG.open("rb") as log:
        log.seek(max(0, BUILD_LOG.stat().st_size - 1_000_000))
        counts = re.findall(rb"\[(\d+)/(\d+)\]", log.read())
    return f", {int(counts[-1][0])} of {int(counts[-1][1])} steps" if counts else ""


def check_llama_loads(requirement: str) -> None:
    trial = subprocess.run(
        [PYTHON, "-c", "import llama_cpp"], env=environment(), capture_output=True, text=True, check=False
    )
    if trial.returncode != 0:
        said = f"{trial.stderr.rstrip()}\n\n{requirement} does not load (exit {trial.returncode})"
        kept = cache_folder() / wheel_key()
        raise SetupError(f"{said}\nTo compile it anew, remove .venv and {kept}, then run this again")
