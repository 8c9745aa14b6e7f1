"""`:LEVEL` is another level of the model that is talking, wherever that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.cli.chat.model_names import completions, lasting, other_model
from localllm.errors import NotFoundError, UsageError


@pytest.mark.parametrize(
    ("current", "text", "other"),
    [
        ("demo", "demo:Q8_0", "demo:Q8_0"),
        ("demo:Q8_0", ":q2_k", "demo:Q2_K"),
        ("org/repo:Q8_0", ":Q2_K", "org/repo:Q2_K"),
        ("org/repo@main:Q8_0", ":Q2_K", "org/repo@main:Q2_K"),
        ("org/repo/model-Q8_0.gguf", ":Q2_K", "org/repo:Q2_K"),
        ("./directory", ":Q2_K", "./directory:Q2_K"),
        ("demo", "/some/file.gguf", "/some/file.gguf"),
        ("http://127.0.0.1:8080/v1#small", "#large", "http://127.0.0.1:8080/v1#large"),
        ("http://127.0.0.1:8080/v1#small", "demo", "demo"),
    ],
)
def test_references(current: str, text: str, other: str) -> None:
    assert other_model(current, text) == other


@pytest.mark.parametrize("text", [":Q8_0", "#"])
def test_a_server_has_names_and_no_levels(text: str) -> None:
    with pytest.raises(UsageError, match="names no model of the server"):
        other_model("http://127.0.0.1:8080/v1#small", text)


def test_a_file_beside_it(tmp_path: Path) -> None:
    for name in ("m-Q8_0.gguf", "m-q2_k.gguf", "other-Q4_K_M.gguf"):
        (tmp_path / name).touch()
    current = str(tmp_path / "m-Q8_0.gguf")
    assert other_model(current, ":Q2_K") == str(tmp_path / "m-q2_k.gguf")
    assert list(completions(current, ":")) == [":Q2_K", ":Q8_0"]
    assert list(completions(current, ":q8")) == [":Q8_0"]
    with pytest.raises(NotFoundError) as caught:
        other_model(current, ":Q4_K_M")
    assert caught.value.hint == "there are Q2_K, Q8_0"


def test_a_level_that_is_none() -> None:
    with pytest.raises(UsageError):
        other_model("demo", ":Q4 K")


def test_paths_last_in_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.gguf").touch()
    assert lasting("./m.gguf") == str(tmp_path / "m.gguf")
    assert lasting("m.gguf") == str(tmp_path / "m.gguf")
    assert lasting("demo:Q8_0") == "demo:Q8_0"
    assert lasting("org/repo:Q8_0") == "org/repo:Q8_0"
