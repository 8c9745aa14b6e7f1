"""Which kernels are used, and that ggml's own routines are when they cannot be."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from localllm.errors import UsageError
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.kernels import DIGEST, LIBRARY
from localllm.native import kernel_probe
from localllm.native import kernels as choosing
from localllm.native.kernels import INSTRUCTIONS, OFF, TYPES, Kernels, kernels
from localllm.native.rows import encode_rows
from tests.cli.process import localllm
from tests.kernels.comparison import instructions_here

built = pytest.mark.skipif(not LIBRARY.exists(), reason="the kernels are not built")


@pytest.fixture(autouse=True)
def decided_anew() -> Iterator[None]:
    """Forget what was decided before and in a test."""
    choosing._decided.cache_clear()
    yield
    choosing._decided.cache_clear()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of the test's own; its digest lies beside it."""
    for name, path in (("LIBRARY", LIBRARY), ("DIGEST", DIGEST)):
        shutil.copy(path, tmp_path)
        monkeypatch.setattr(choosing, name, tmp_path / path.name)
    return tmp_path / LIBRARY.name


def kept_answers() -> list[Path]:
    place = Path(platformdirs.user_cache_dir("localllm", appauthor=False)) / "kernels"
    return list(place.iterdir()) if place.is_dir() else []


def seal(library: Path) -> None:
    """Make the digest that of a changed library."""
    library.with_name(DIGEST.name).write_text(hashlib.sha256(library.read_bytes()).hexdigest())


@built
def test_the_best_that_the_processor_has() -> None:
    assert kernels() == Kernels(instructions_here()[-1], None, kernels().encode)


@built
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_the_variable_chooses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALLLM_KERNELS", name.upper())
    if name in instructions_here():
        assert kernels().name == name
        return
    with pytest.raises(UsageError, match=f"LOCALLLM_KERNELS is `{name}`, which this processor does not have"):
        kernels()


def test_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALLLM_KERNELS", "off")
    assert kernels() == Kernels(OFF, "LOCALLLM_KERNELS says so", None)


def test_an_unknown_value_is_one_clear_line(tiny_gguf: Path, tmp_path: Path) -> None:
    variable = {"LOCALLLM_KERNELS": "avx1024"}
    for command in (
        ["quantize", str(tiny_gguf), "-q", "Q4_K_M", "-o", f"{tmp_path}/", "--quiet"],
        ["--version"],
    ):
        result = localllm(*command, env=variable)
        assert result.returncode == 2
        assert result.stdout == ""
        error, hint = result.stderr.splitlines()
        assert error == "error: LOCALLLM_KERNELS is `avx1024`"
        assert hint == "hint: it can be off, sse2, avx2 or avx512"
    assert list(tmp_path.iterdir()) == []


def test_the_version_names_them() -> None:
    (line,) = [each for each in localllm("--version").stdout.splitlines() if each.startswith("kernels: ")]
    chosen = kernels()
    assert line.startswith(f"kernels: {chosen.name}")
    off = localllm("--version", env={"LOCALLLM_KERNELS": "off"}).stdout.splitlines()
    assert "kernels: off (LOCALLLM_KERNELS says so)" in off


@built
def test_the_answer_of_the_probe_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels().name != OFF
    (place,) = kept_answers()
    assert place.read_text() == "same"
    choosing._decided.cache_clear()
    monkeypatch.setattr(kernel_probe, "_agree_on", lambda *_: pytest.fail("asked again"))
    assert kernels().name != OFF


@built
def test_a_kept_answer_that_is_none_is_asked_for_again() -> None:
    assert kernels().name != OFF
    (place,) = kept_answers()
    place.write_bytes(b"\xff\xfe")
    choosing._decided.cache_clear()
    assert kernels().name != OFF
    assert place.read_text() == "same"


@built
def test_a_ggml_of_other_bytes_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose compiler fused multiplications and additions; what is quantized then is ggml's."""

    class OtherGGML:
        _name = "libggml-base.so"

        def ggml_quantize_chunk(self, _kind: int, _rows: int, target: int, *_: object) -> None:
            import ctypes

            ctypes.memset(target, 0x55, 64)

    with monkeypatch.context() as other:
        other.setattr(kernel_probe, "ggml", OtherGGML)
        assert kernels() == Kernels(
            OFF, "the installed ggml was compiled so that it quantizes otherwise", None
        )
    rows = np.random.default_rng(1).standard_normal((4, 512), dtype=np.float32)
    of_ggml = {kind: encode_rows(rows, TENSOR_TYPES_BY_NAME[kind]).tobytes() for kind in TYPES}
    assert [place.read_text() for place in kept_answers()] == ["other"]
    choosing._decided.cache_clear()
    assert kernels().name != OFF
    assert {kind: encode_rows(rows, TENSOR_TYPES_BY_NAME[kind]).tobytes() for kind in TYPES} == of_ggml


@built
def test_without_a_place_to_keep_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    assert kernels().name != OFF


@built
def test_a_library_that_is_not_there(copy: Path) -> None:
    copy.unlink()
    reason = "not built: that takes an x86-64 processor and, at installation, a C compiler"
    assert kernels() == Kernels(OFF, reason, None)


@built
@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "no digest"])
def test_a_damaged_library_is_not_loaded(damage: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 0xFF
    {
        "cut": lambda: copy.write_bytes(content[: len(content) // 3]),
        "changed": lambda: copy.write_bytes(content),
        "empty": lambda: copy.write_bytes(b""),
        "no digest": lambda: copy.with_name(DIGEST.name).write_bytes(b"\xff\n"),
    }[damage]()
    monkeypatch.setattr(choosing, "open_library", lambda _: pytest.fail("loaded"))
    assert kernels() == Kernels(OFF, "lanes.so is not the file that was built; reinstall localllm", None)


@built
@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF\x02\x01\x01" + bytes(200)])
def test_a_library_for_another_system(content: bytes, copy: Path) -> None:
    copy.write_bytes(content)
    seal(copy)
    reason = "lanes.so is for another system or version; reinstall localllm"
    assert kernels() == Kernels(OFF, reason, None)


@built
def test_a_library_of_another_version(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_VERSION", 999)
    assert kernels().reason == "lanes.so is for another system or version; reinstall localllm"


@built
def test_rows_of_types_they_do_not_know_are_ggmls() -> None:
    rows = np.random.default_rng(1).standard_normal((2, 256), dtype=np.float32)
    for kind in ("Q4_0", "IQ4_NL", "F16"):
        target = np.zeros((2, TENSOR_TYPES_BY_NAME[kind].row_bytes(256)), np.uint8)
        assert not kernels().encode_rows(rows, TENSOR_TYPES_BY_NAME[kind], target, None)
        assert encode_rows(rows, TENSOR_TYPES_BY_NAME[kind]).any()
