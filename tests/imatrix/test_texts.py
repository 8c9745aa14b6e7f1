"""The texts to run a model on."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.errors import NotFoundError, StorageError, UsageError
from localllm.imatrix import builtin_text, read_text
from localllm.imatrix.texts import calibration_names, calibration_texts


def test_the_built_in_text_is_long_enough_for_two_usual_chunks() -> None:
    name, text = builtin_text()
    assert name == "built-in"
    assert len(text) > 2 * 512 * 8  # a token is rarely longer than eight characters
    assert "\0" not in text
    assert "\ufffd" not in text


def test_a_file_is_named_without_its_directory_and_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes("Zeile eins\r\nZwei — ü\n\n".encode())
    assert read_text(tmp_path / "notes.txt") == ("notes.txt", "Zeile eins\r\nZwei — ü\n")


def test_invalid_utf8_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert read_text(tmp_path / "latin.txt")[1] == "caf\ufffd"


def test_without_files_it_is_the_built_in_text(tmp_path: Path) -> None:
    assert calibration_texts() == [builtin_text()]
    assert calibration_names() == ("built-in",)


def test_names_are_those_of_the_texts(tmp_path: Path) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in paths:
        path.write_text("text")
    assert tuple(name for name, _ in calibration_texts(paths)) == calibration_names(paths)


def test_what_is_no_text_is_refused(tmp_path: Path, narrow_gguf: Path) -> None:
    with pytest.raises(NotFoundError):
        read_text(tmp_path / "none.txt")
    with pytest.raises(StorageError):
        read_text(tmp_path)
    with pytest.raises(UsageError, match="not a text file"):
        read_text(narrow_gguf)
