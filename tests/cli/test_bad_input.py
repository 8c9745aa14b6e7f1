"""Every bad input: one clear line and a hint on stderr, the right exit status, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localllm.cli.app import run
from tests.cli.process import files_below, localllm

CASES = {
    "inspect-missing": (("inspect", "missing.gguf"), 1, "no such file"),
    "inspect-empty": (("inspect", "empty.gguf"), 1, "empty"),
    "inspect-truncated": (("inspect", "truncated.gguf"), 1, "truncated"),
    "inspect-not-gguf": (("inspect", "text.gguf"), 1, "not a GGUF file"),
    "inspect-directory": (("inspect", "./nothing"), 1, "neither GGUF files nor a checkpoint"),
    "inspect-unknown-key": (("inspect", "good.gguf", "--key", "general.nam"), 1, "no metadata"),
    "convert-missing": (("convert", "./missing"), 1, "no such"),
    "convert-no-config": (("convert", "./nothing"), 1, "no config.json"),
    "convert-no-weights": (("convert", "./weightless"), 1, "no model*.safetensors"),
    "convert-unknown-architecture": (("convert", "./alien"), 1, "`AlienForCausalLM` is not supported"),
    "convert-file": (("convert", "./good.gguf"), 1, "not a checkpoint directory"),
    "convert-bad-type": (("convert", "./nothing", "--outtype", "q5"), 2, "q5"),
    "quantize-unknown-level": (("quantize", "good.gguf", "-q", "Q9_9"), 2, "not a quantization level"),
    "quantize-no-level": (("quantize", "good.gguf"), 2, "level"),
    "quantize-needs-matrix": (("quantize", "good.gguf", "-q", "IQ2_XXS"), 2, "importance matrix"),
    "quantize-truncated": (("quantize", "truncated.gguf", "-q", "Q8_0"), 1, "truncated"),
    "quantize-twice": (("quantize", "quantized.gguf", "-q", "Q4_0"), 1, "already quantized"),
    "quantize-onto-itself": (("quantize", "good.gguf", "-q", "Q8_0", "-o", "good.gguf"), 2, "made from"),
    "quantize-onto-link": (("quantize", "good.gguf", "-q", "Q8_0", "-o", "link.gguf"), 2, "made from"),
    "quantize-unknown-name": (("quantize", "demoo", "-q", "Q8_0"), 1, "no model called"),
    "chat-unknown-name": (("chat", "nobody", "hello"), 1, "no model called"),
    "chat-truncated": (("chat", "truncated.gguf", "hello"), 1, "truncated"),
    "chat-bad-temperature": (("chat", "good.gguf", "hi", "--temperature", "9"), 2, "temperature"),
    "chat-nothing-to-say": (("chat", "good.gguf"), 2, "nothing to answer"),
    "chat-bad-session": (("chat", "good.gguf", "hi", "--session", "bad.json"), 1, "not a saved conversation"),
    "chat-hub": (("chat", "org/repo:Q4_K_M", "hi"), 1, "cannot reach 127.0.0.1:9"),
    "compare-missing": (("compare", "missing.gguf"), 1, "no such file"),
    "compare-short-text": (
        ("compare", "good.gguf", "--text", "short.txt"),
        2,
        "too little for two windows of 512 tokens",
    ),
    "compare-missing-text": (("compare", "good.gguf", "--text", "no.txt"), 1, "no such file"),
    "unknown-command": (("frobnicate",), 2, "frobnicate"),
    "unknown-option": (("list", "--frobnicate"), 2, "--frobnicate"),
}


@pytest.fixture
def workplace(tmp_path: Path, demo_files: dict[str, Path]) -> Path:
    """A directory with one of every bad input."""
    place = tmp_path / "workplace"
    place.mkdir()
    content = demo_files["BF16"].read_bytes()
    (place / "good.gguf").write_bytes(content)
    (place / "link.gguf").symlink_to(place / "good.gguf")
    (place / "quantized.gguf").write_bytes(demo_files["Q8_0"].read_bytes())
    (place / "truncated.gguf").write_bytes(content[: len(content) // 2])
    (place / "empty.gguf").touch()
    (place / "text.gguf").write_text("this is only a text, but a long enough one\n")
    (place / "short.txt").write_text("too short")
    (place / "bad.json").write_text("[1, 2")
    (place / "nothing").mkdir()
    for name, architecture in (("weightless", "LlamaForCausalLM"), ("alien", "AlienForCausalLM")):
        (place / name).mkdir()
        (place / name / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (place / "alien" / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return place


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, workplace: Path, tmp_path: Path) -> None:
    arguments, status, words = CASES[name]
    before = files_below(tmp_path)
    result = localllm(*arguments, cwd=workplace)
    lines = result.stderr.splitlines()
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert any(line.startswith("hint: ") for line in lines), "there is no hint"
    assert "Traceback" not in result.stderr
    assert files_below(tmp_path) == before


def test_errors_as_json(workplace: Path) -> None:
    result = localllm("inspect", "truncated.gguf", "--json", cwd=workplace)
    answer = json.loads(result.stdout)
    assert result.returncode == 1
    assert answer["schema"] == 1
    assert answer["command"] == "inspect"
    assert answer["error"]["code"] == "invalid-gguf"
    assert "truncated" in answer["error"]["message"]
    assert result.stderr == ""


def test_a_command_is_not_taken_for_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "no-such-file.gguf", "--json"]) == 1
    assert "inspect" in capsys.readouterr().out
    assert run(["serve"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "MODEL" in printed.err
