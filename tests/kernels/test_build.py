"""The kernels are compiled where that is possible, and done without where it is not."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from pathlib import Path

import pytest

from localllm.kernels import build as building
from localllm.kernels.build import SOURCES, NotBuiltError, build
from localllm.native.kernels import open_library

POSSIBLE = os.name == "posix" and platform.machine() in ("x86_64", "AMD64")
compiles = pytest.mark.skipif(
    not POSSIBLE or not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="needs a C compiler and an x86-64",
)


@compiles
def test_what_is_built_can_be_loaded_and_has_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_FLAGS", (*building._FLAGS, "-O0"))  # a tenth of the time
    monkeypatch.setenv("CFLAGS", "-ffast-math --no-such-flag")  # not taken: it would change the bytes
    library, digest = build(tmp_path)
    assert digest.read_text() == hashlib.sha256(library.read_bytes()).hexdigest() + "\n"
    assert open_library(library).localllm_best_lanes() >= 1
    assert {path.name for path in tmp_path.iterdir()} == {library.name, digest.name}


@compiles
@pytest.mark.parametrize(
    "compiler", ["no-such-compiler", "false", "true", "sh -c 'echo; echo error: sorry; exit 3'"]
)
def test_a_compiler_that_cannot(compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(NotBuiltError) as caught:
        build(tmp_path)
    assert "\n" not in str(caught.value)
    assert compiler.split()[0] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("machine", "system"), [("arm64", "posix"), ("x86_64", "nt")])
def test_another_kind_of_machine(
    machine: str, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(building.os, "name", system)
    with pytest.raises(NotBuiltError, match=r"x86-64 processors, and this is arm64|GCC or Clang"):
        building._compiler()


def test_the_flags_that_identity_rests_on() -> None:
    assert "-ffp-contract=off" in building._FLAGS
    assert not [flag for flag in building._FLAGS if "fast" in flag]


def test_every_source_is_compiled() -> None:
    assert {path.name for path in SOURCES.glob("*.c")} == set(building._FILES)
