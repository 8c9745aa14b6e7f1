"""`--metadata`: what replaces the model card, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.conversion.convert import convert
from localllm.conversion.overrides import read_overrides
from localllm.errors import LocalLLMError
from localllm.gguf_file import read_header
from tests.conversion.golden_checkpoints import CARD
from tests.conversion.tiny_llama import write_tiny_llama


def test_the_keys_are_written(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny")
    (directory / "README.md").write_text(CARD, encoding="utf-8")
    overrides = {
        "general.name": "Another Name",
        "general.author": "Ada",
        "general.license": "mit",
        "general.license.name": "MIT",
        "general.tags": ["one", "two"],
        "general.languages": ["fr"],
        "general.base_models": [{"name": "Base", "organization": "Org", "repo_url": "https://example.org"}],
        "general.sampling.temp": 0.25,
        "general.sampling.mirostat": 2,
    }
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(overrides), encoding="utf-8")
    result = convert(directory, output=tmp_path / "x.gguf", overrides=read_overrides(path))
    header = read_header(result.path)
    for key in ("general.name", "general.author", "general.license", "general.license.name"):
        assert header.text(key) == overrides[key]
    assert header.array("general.tags").decode() == ["one", "two"]  # type: ignore[union-attr]
    assert header.array("general.languages").decode() == ["fr"]  # type: ignore[union-attr]
    assert header.text("general.base_model.0.organization") == "Org"
    assert header.number("general.sampling.temp") == 0.25
    assert header.integer("general.sampling.mirostat") == 2
    assert header.integer("general.sampling.top_k") == 40  # still generation_config.json's


def test_a_name_on_the_command_line_comes_first(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny")
    result = convert(
        directory, output=tmp_path / "x.gguf", name="given", overrides={"general.name": "from the file"}
    )
    assert read_header(result.path).text("general.name") == "given"


REFUSED: dict[str, tuple[Any, str, str]] = {
    "no object": (["general.name"], "does not hold a JSON object", "JSON object like"),
    "unknown": ({"general.authors": "x"}, "`general.authors` cannot be set", "did you mean `general.author`"),
    "ours": ({"general.architecture": "x"}, "`general.architecture` cannot be set", ""),
    "another section": ({"llama.block_count": 3}, "`llama.block_count` cannot be set", "what can be set"),
    "a number for a text": ({"general.name": 3}, "wrong type: 3", "JSON object like"),
    "a text for a list": ({"general.tags": "one"}, "wrong type: 'one'", ""),
    "a truth for a number": ({"general.sampling.top_k": True}, "wrong type: True", ""),
    "unknown parts": ({"general.datasets": [{"size": "1"}]}, "wrong type", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    content, message, hint = REFUSED[name]
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(LocalLLMError, match=r"metadata\.json") as raised:
        read_overrides(path)
    assert message in raised.value.message
    assert hint in str(raised.value.hint)


@pytest.mark.parametrize("content", ["{", "\udcff"])
def test_what_is_no_json(content: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(LocalLLMError, match="is not valid JSON"):
        read_overrides(path)
