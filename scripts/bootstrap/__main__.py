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

import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from llama_wheel import (
    build_wheel,
    cached_wheel,
    check_compiler,
    check_llama_loads,
    llama_requirement,
)
from steps import (
    LOCKS,
    PYTHON,
    ROOT,
    VENV,
    SetupError,
    base_python,
    digest,
    duration,
    environment,
    exclusive,
    pip_install,
    run,
    say,
)

KERNELS = ROOT / "localllm" / "kernels"
STAMP = VENV / ".localllm-stamp"
UNFINISHED = VENV / ".localllm-unfinished"


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
        if not (KERNELS / "lanes.so").exists():  # pip does not show what hatch_build.py says
            say("The optional quantization kernels were not built: that takes GCC or Clang and an x86-64")
            say("processor. Everything works without them; quantizing takes longer.")
    except SetupError:
        UNFINISHED.unlink()  # pip undoes what it cannot finish, so the next run may go on from here
        raise
    write_stamp(fingerprint(profile), flags)
    UNFINISHED.unlink()
    say(f"Set-up is ready ({duration(time.monotonic() - started)})")


def fingerprint(profile: str) -> dict[str, str]:
    """What the environment of `profile` depends on; two equal fingerprints need no work in between."""
    locks = ("build", "runtime") if profile == "runtime" else ("build", "runtime", "dev")
    return {
        "root": str(ROOT),
        "python": python_identity(),
        "project": project_digest(),
        "kernels": kernels_digest(),
        **{f"{name}.lock": digest((LOCKS / f"{name}.lock").read_bytes()) for name in locks},
    }


def project_digest() -> str:
    """A digest of what pyproject.toml says about the project itself, not about linters and tests."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        said = tomllib.load(file)
    installed = [said["project"], said["build-system"], said.get("tool", {}).get("hatch")]
    return digest(json.dumps(installed, sort_keys=True).encode())


def kernels_digest() -> str:
    """A digest of what the library of kernels is built from."""
    files = (ROOT / "hatch_build.py", KERNELS / "build.py", *sorted((KERNELS / "source").iterdir()))
    return digest(b"\0".join(path.read_bytes() for path in files))


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


def empty(folder: Path) -> None:
    """Remove what is in `folder`, but not the mark that work on it is unfinished."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != UNFINISHED:
            entry.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
