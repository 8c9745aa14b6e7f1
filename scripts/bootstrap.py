"""Make `.venv` and fill it with exactly what `requirements/*.lock` pin; do nothing when nothing changed.

`scripts/demo` and `scripts/test` call this through `scripts/setup`. It needs the standard library alone,
and knows three things:

* llama-cpp-python is published as source only, so it is compiled once per kind of machine, and its wheel is
  kept in `${XDG_CACHE_HOME:-~/.cache}/localllm/wheels/<key>`. The wheel is `py3-none`, so the key leaves the
  Python version out; it holds the sources' hash, the platform, the C library, the processor's features (the
  build uses all of them) and the build's variables, such as `CMAKE_ARGS`.
* Everything installed, pip and the build tools included, has its hash in a lock file, and nothing but
  llama-cpp-python is ever compiled.
* `.venv/.localllm-stamp` says what was installed. `.venv/.localllm-unfinished` exists while set-up works on
  the folder: a run that finds it follows one that was killed, and starts the folder anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
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
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
VENV = ROOT / ".venv"
STAMP = VENV / ".localllm-stamp"
UNFINISHED = VENV / ".localllm-unfinished"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")
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


class SetupError(Exception):
    """Set-up cannot go on; the message says why and what to do."""


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    if list(arguments) not in (["runtime"], ["dev"]):
        say("usage: scripts/setup runtime|dev")
        return 2
    profile = arguments[0]
    try:
        if is_current(profile):
            say("Set-up is up to date (.venv)")
            return 0
        with exclusive(
            ROOT / ".cache" / "setup.lock", "Another set-up of this checkout is running; waiting for it"
        ):
            if is_current(profile):
                say("Set-up is up to date (.venv)")
            else:
                set_up(profile)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up was interrupted; run the same command again", file=sys.stderr)
        return 130
    return 0


def set_up(profile: str) -> None:
    started = time.monotonic()
    check_ensurepip()
    requirement = llama_requirement()
    reusable = not UNFINISHED.exists() and venv_answers()
    serves = reusable and installed_llama_serves(requirement)
    wheel = None if serves else cached_wheel(requirement)
    if not serves and wheel is None:
        check_compiler(requirement)

    if reusable:
        say("Updating .venv")
    else:
        say(f"Making .venv with Python {platform.python_version()}")
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    if not reusable:
        empty(VENV)
    flags = read_stamp().get("cmake_args")
    write_stamp({"root": str(ROOT)}, flags)
    if not reusable:
        run([base_python(), "-m", "venv", str(VENV)], "making .venv")
    try:
        # pip first and alone: the older pip that a new folder starts with should not install the rest
        pip_install("the pinned pip and build backend", "--requirement", str(LOCKS / "build.lock"))
        if not serves:
            wheel = wheel or build_wheel(requirement)
            pip_install(requirement, "--no-deps", "--no-index", "--force-reinstall", str(wheel), hashes=False)
            flags = os.environ.get("CMAKE_ARGS", "")
            write_stamp({"root": str(ROOT)}, flags)
        pip_install(
            f"the packages of requirements/{profile}.lock", "--requirement", str(LOCKS / f"{profile}.lock")
        )
        check_llama_loads(requirement)
        editable = ("--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT))
        pip_install("localllm itself", *editable, hashes=False, binary=False)
    except SetupError:
        UNFINISHED.unlink()  # pip undoes what it cannot finish, so the next run may go on from here
        raise
    write_stamp(fingerprint(profile), flags)
    UNFINISHED.unlink()
    say(f"Set-up is ready ({duration(time.monotonic() - started)})")


# What is there


def fingerprint(profile: str) -> dict[str, str]:
    """What the environment of `profile` depends on; two equal fingerprints need no work in between."""
    locks = ("build", "runtime") if profile == "runtime" else ("build", "runtime", "dev")
    return {
        "root": str(ROOT),
        "python": python_identity(),
        "project": project_digest(),
        **{f"{name}.lock": digest((LOCKS / f"{name}.lock").read_bytes()) for name in locks},
    }


def project_digest() -> str:
    """A digest of what pyproject.toml says about the project itself, not about linters and tests."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        said = tomllib.load(file)
    installed = [said["project"], said["build-system"], said.get("tool", {}).get("hatch")]
    return digest(json.dumps(installed, sort_keys=True).encode())


def is_current(profile: str) -> bool:
    """Whether the last finished set-up covers `profile`; one for `dev` also covers `runtime`."""
    stamp = read_stamp()
    if UNFINISHED.exists() or any(stamp.get(name) != value for name, value in fingerprint(profile).items()):
        return False
    return built_as_asked() and venv_answers()


def read_stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def built_as_asked() -> bool:
    """Whether llama-cpp-python has the `CMAKE_ARGS` asked for; a wheel the user took is taken as is."""
    asked, built = os.environ.get("CMAKE_ARGS"), read_stamp().get("cmake_args")
    return asked is None or built is None or asked == built


def write_stamp(facts: Mapping[str, str], flags: str | None) -> None:
    """Say what is installed, and with which `CMAKE_ARGS` if it is known."""
    known = {} if flags is None else {"cmake_args": flags}
    part = STAMP.with_name(f"{STAMP.name}.part-{os.getpid()}")
    part.write_text(json.dumps({**facts, **known}, indent=1) + "\n", encoding="utf-8")
    part.replace(STAMP)


def venv_answers() -> bool:
    """Whether `.venv` has a working Python of this version that was made at this very path."""
    question = (
        "import sys, platform; print(sys.prefix); print(sys.implementation.cache_tag, platform.machine())"
    )
    try:
        answer = subprocess.run(
            [PYTHON, "-c", question],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        prefix, identity = answer.stdout.splitlines()
        same_place = Path(prefix).resolve() == VENV.resolve()
        # its scripts name the folder they were made in: those of a copied checkout would run the original
        made_here = read_stamp().get("root", str(ROOT)) == str(ROOT)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return same_place and made_here and identity == python_identity()


def python_identity() -> str:
    return f"{sys.implementation.cache_tag} {platform.machine()}"


def base_python() -> str:
    """The Python that this one, possibly of an active virtual environment, was made from."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


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


def installed_llama_serves(requirement: str) -> bool:
    """Whether `.venv` has the pinned llama-cpp-python, built with the flags that were asked for, if any were.

    A prebuilt wheel that the user put there serves too.
    """
    if not built_as_asked():
        return False
    question = "import importlib.metadata as m; print('llama-cpp-python==' + m.version('llama-cpp-python'))"
    answer = subprocess.run(
        [PYTHON, "-c", question], env=environment(), capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() == requirement


def check_ensurepip() -> None:
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        message = (
            f"This Python cannot make virtual environments; on Debian or Ubuntu: sudo apt install {package}"
        )
        raise SetupError(message) from None


# llama-cpp-python


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


# Doing things


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


def empty(folder: Path) -> None:
    """Remove what is in `folder`, but not the mark that work on it is unfinished."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != UNFINISHED:
            entry.unlink()


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
