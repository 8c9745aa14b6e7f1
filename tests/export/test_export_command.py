"""`localllm export` as a process: what it makes for Ollama, LM Studio and folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localllm.chat_template.named import TEMPLATES
from localllm.export.modelfile import MARK
from localllm.gguf_file import read_header
from localllm.gguf_file.format import Key
from localllm.gguf_file.split_names import split_paths
from localllm.gguf_file.writer import float32, string
from tests.cli.process import localllm
from tests.tiny_gguf import build_tiny_gguf

OLLAMA = """{mark}; `ollama create NAME -f Modelfile` reads it.
# mine-Q8_0, from mine-Q8_0.gguf
# TEMPLATE makes the prompts of the model's own, in 10 conversations
FROM ./mine-Q8_0.gguf
TEMPLATE \"\"\"{{{{ if .System }}}}<|system|>
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gguf(
        tmp_path_factory.mktemp("models") / "mine-Q8_0.gguf",
        width=64,
        layers=1,
        template=TEMPLATES["phi-3"],
        overrides={
            "general.sampling.temp": float32(0.25),
            "general.license": string("apache-2.0"),
            "general.license.link": string("https://example.org/license"),
        },
    )


def test_ollama(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "for ollama"
    (tmp_path / "prompt.txt").write_text("Be kind.\nAlways.")
    arguments = ["export", "ollama", model, "-o", out, "--system", f"@{tmp_path / 'prompt.txt'}"]
    plan = localllm(*arguments, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert not out.exists()
    done = localllm(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'Modelfile'}\n"
    assert "agrees with the model's own in 10 conversations" in done.stderr
    assert f'ollama create mine-q8_0 -f "{out / "Modelfile"}"' in done.stderr
    text = (out / "Modelfile").read_text(encoding="utf-8")
    assert plan.stdout == text
    assert text.startswith(OLLAMA.format(mark=MARK))
    assert 'SYSTEM "Be kind.\nAlways."\nPARAMETER temperature 0.25\n' in text
    assert 'PARAMETER stop "</s>"' in text
    assert text.endswith("LICENSE apache-2.0, https://example.org/license\n")
    assert (out / "mine-Q8_0.gguf").samefile(model)
    again = localllm(*arguments[:4], out, "--json")
    assert json.loads(again.stdout)["data"]["files"][0]["how"] == "there already"
    assert "SYSTEM" not in (out / "Modelfile").read_text(encoding="utf-8")


def test_ollama_leaves_the_modelfile_of_somebody_else_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM llama3\n")
    refused = localllm("export", "ollama", model, "-o", tmp_path)
    assert refused.returncode == 2
    assert "not ours" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Modelfile"]


def test_a_template_that_cannot_be_translated_is_said(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "odd.gguf", width=64, layers=1, template="{{ messages | length }}")
    (tmp_path / "LICENSE").write_text("Do what you want.\n\nReally.\n")
    done = localllm("export", "ollama", path, "-o", tmp_path / "out", "--json")
    data = json.loads(done.stdout)["data"]
    assert done.returncode == 0
    assert data["has_template"] is False
    assert "does more with messages" in data["problem"]
    text = (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8")
    assert "TEMPLATE" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "# no TEMPLATE: it does more with messages" in text
    assert text.endswith('LICENSE "Do what you want.\n\nReally."\n')


def test_a_checkpoint_is_quantized_first_and_its_adapter_converted(tmp_path: Path) -> None:
    done = localllm("export", "ollama", "demo", "--lora", "demo-persona", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "Modelfile").read_text(encoding="utf-8").splitlines()
    (adapter,) = (line.removeprefix("ADAPTER ./") for line in lines if line.startswith("ADAPTER "))
    assert read_header(tmp_path / adapter).text(Key.TYPE) == "adapter"
    assert "FROM ./demo-Q8_0.gguf" in lines
    assert (tmp_path / "demo-Q8_0.gguf").is_file()
    assert "not every version of Ollama takes adapters" in done.stderr


def test_lm_studio_and_folders(model: Path, tmp_path: Path, pinned_environment: Path) -> None:
    missing = localllm("export", "lmstudio", model)
    assert missing.returncode == 1
    assert "--models-dir" in missing.stderr
    (pinned_environment / ".lmstudio").mkdir()
    done = localllm("export", "lmstudio", model)
    place = pinned_environment / ".lmstudio" / "models" / "localllm" / "mine-GGUF" / "mine-Q8_0.gguf"
    assert done.stdout == f"{place}\n"
    assert place.samefile(model)
    plan = localllm("export", "dir", model, tmp_path / "webui" / "models", "--dry-run", "--json")
    assert json.loads(plan.stdout)["data"]["files"][0]["how"] == "to be placed"
    assert not (tmp_path / "webui").exists()
    done = localllm("export", "dir", model, tmp_path / "webui" / "models")
    assert (tmp_path / "webui" / "models" / "mine-Q8_0.gguf").samefile(model)
    assert "linked" in done.stderr
    refused = localllm("export", "lmstudio", model, "--publisher", "../up")
    assert refused.returncode == 2


def test_a_split_model_goes_as_a_whole_or_not_at_all(model: Path, tmp_path: Path) -> None:
    parts = split_paths(tmp_path / "big-Q8_0.gguf", 2)
    for part in parts:
        part.write_bytes(model.read_bytes())
    place = tmp_path / "out"
    done = localllm("export", "dir", parts[0], place)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in place.iterdir()) == [path.name for path in parts]
    parts[1].unlink()
    refused = localllm("export", "dir", parts[0], tmp_path / "other")
    assert refused.returncode == 1
    assert "one of 2 files, and 1 are missing" in refused.stderr
    assert not (tmp_path / "other").exists()
