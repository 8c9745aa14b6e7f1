"""`localllm inspect` as users run it: every kind of input, every view, and every way it can go wrong."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localllm.gguf_file.format import Key
from localllm.gguf_file.writer import string
from tests.cli.process import COMMAND, environment, localllm
from tests.gguf_file.raw import gguf_bytes, text_pair
from tests.tiny_gguf import build_tiny_gguf


def data(*arguments: str | Path, **options: Any) -> Any:
    """Run with `--json` and return the data."""
    result = localllm("inspect", *arguments, "--json", **options)
    assert result.returncode == 0, result.stdout + result.stderr
    answer = json.loads(result.stdout)
    assert (answer["schema"], answer["command"]) == (1, "inspect")
    return answer["data"]


def shown(*arguments: str | Path, **options: Any) -> str:
    """Run and return what is printed; nothing may go wrong or be said beside it."""
    result = localllm("inspect", *arguments, **options)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    return result.stdout


def error(*arguments: str | Path, status: int = 1, **options: Any) -> str:
    """Run what cannot work and return its error: one line, with a hint."""
    result = localllm("inspect", *arguments, **options)
    assert result.returncode == status, result.stdout + result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], result.stderr
    return lines[0]


def legacy_imatrix(path: Path) -> Path:
    """Write an importance matrix in the format before GGUF."""
    name = b"blk.0.ffn_down.weight"
    entry = struct.pack("<i", len(name)) + name + struct.pack("<ii4f", 2, 4, 1.0, 2.0, 3.0, 4.0)
    path.write_bytes(struct.pack("<i", 1) + entry + struct.pack("<ii", 7, 5) + b"x.txt")
    return path


# a model -----------------------------------------------------------------------------------------


def test_a_model_in_sections(made: Path) -> None:
    text = shown(made / "demo-Q4_K_M.gguf")
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles == ["Demo", "Model", "Weights", "Tokenizer and chat", "Will it run here (estimated)"]
    facts = {line[2:18].strip(): line[19:] for line in text.splitlines() if line.startswith("  ")}
    assert facts["layers"] == "4, 256 wide, feed-forward 768"
    assert facts["attention"] == "4 heads of 64, 2 for keys and values"
    assert facts["context"].startswith("1,024 tokens") or "cache F16" in facts["context"]
    assert facts["level"] == "Q4_K_M"
    assert facts["Q4_K"].split()[1] == "65%"
    assert facts["answers end at"] == "<|im_end|>, <|endoftext|>"
    assert facts["largest context"] == "1,024 tokens, all it was trained for"
    assert all(len(line) <= 100 for line in text.splitlines() if str(made) not in line)


def test_a_model_as_json(made: Path) -> None:
    found = data(made / "demo-Q8_0.gguf")
    assert found["kind"] == "model"
    assert found["level"] == "Q8_0"
    assert found["size_bytes"] == (made / "demo-Q8_0.gguf").stat().st_size
    assert found["parameters"] == 3_672_320
    assert found["dimensions"]["kv_heads"] == [2]
    assert found["vocabulary"]["special"][0] == {
        "role": "bos",
        "id": 0,
        "text": "<|endoftext|>",
        "added": False,
        "is_default": False,
    }
    assert found["sampling"]["top_p"] == pytest.approx(0.9)
    assert [each["context"] for each in found["memory"]["contexts"]] == [1024]
    assert found["problems"] == []


def test_the_python_verb_tells_the_same(made: Path) -> None:
    import localllm as library

    found = library.inspect(made / "demo-Q8_0.gguf")
    assert found.bits_per_weight == data(made / "demo-Q8_0.gguf")["bits_per_weight"]


def test_a_name_in_the_library(made: Path, pinned_environment: Path) -> None:
    place = pinned_environment / "localllm" / "models" / "mine"
    place.mkdir(parents=True)
    shutil.copy(made / "demo-Q8_0.gguf", place / "mine-Q8_0.gguf")
    assert data("mine:Q8_0")["path"] == str(place / "mine-Q8_0.gguf")
    assert "mine-Q8_0.gguf" in shown("mine")


def test_nothing_heavy_is_loaded(made: Path) -> None:
    heavy = ("numpy", "llama_cpp", "gguf", "jinja2", "tokenizers", "safetensors", "rich", "huggingface_hub")
    code = f"""
import sys
from localllm.cli.app import run
assert run(["inspect", {str(made / "demo-Q8_0.gguf")!r}]) == 0
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, loaded
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), check=False)
    assert result.returncode == 0, result.stderr.decode()


def test_problems_are_part_of_what_is_told(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "m.gguf", width=64, layers=1, template="{% for m in messages %}")
    text = shown(path)
    assert text.endswith(
        "Problems\n"
        "  - the chat template is broken: a `for` is never closed\n"
        "    hint: `--template` shows it whole\n"
    )
    (problem,) = data(path)["problems"]
    assert problem["topic"] == "chat-template"


def test_texts_of_strangers_steer_nothing(tmp_path: Path) -> None:
    name = "[bold]x[/bold]\x1b[2J\x07\nProblems\n  - none \u202egnp"
    path = build_tiny_gguf(
        tmp_path / "m.gguf",
        width=64,
        layers=1,
        overrides={Key.NAME: string(name), "general.author": string(name)},
    )
    lines = shown(path).splitlines()
    assert lines[0] == "[bold]x[/bold] Problems   - none gnp"
    assert lines[2].split(maxsplit=1) == ["by", "[bold]x[/bold] Problems   - none gnp"]
    for view in ("--kv", "--template", "--tensors"):
        result = localllm("inspect", path, view)
        assert "\x1b" not in result.stdout + result.stderr


def test_metadata_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf_bytes([text_pair(b"general.architecture", b"llama"), text_pair(b"general.x", b"\xff")])
    )
    assert {problem["topic"] for problem in data(path)["problems"]} >= {"metadata"}


# views -------------------------------------------------------------------------------------------


def test_tensors(made: Path) -> None:
    lines = shown(made / "demo-Q8_0.gguf", "--tensors").splitlines()
    assert lines[0].split() == ["tensor", "shape", "type", "bytes", "offset"]
    embedding = next(line.split() for line in lines if line.startswith("token_embd.weight"))
    assert embedding[1:6] == ["256", "x", "2048", "Q8_0", "557056"]
    assert len(lines) == 1 + 38
    listed = data(made / "split-00003-of-00004.gguf", "--tensors")
    assert len(listed) == 38
    assert listed[0]["file"] == "split-00001-of-00004.gguf"


def test_metadata(made: Path) -> None:
    path = made / "demo-Q8_0.gguf"
    everything = shown(path, "--kv").splitlines()
    assert "general.sampling.top_p = 0.9" in everything
    assert "tokenizer.ggml.tokens = [2048 x string]" in everything
    assert shown(path, "--kv", "llama.block_count") == "4\n"
    assert shown("--kv", "llama.block_count", path) == "4\n"
    assert shown(path, "--key", "llama.block_count") == "4\n"
    assert shown(path, "--kv", "general.sampling").splitlines() == [
        "general.sampling.top_p = 0.9",
        "general.sampling.temp = 0.3",
    ]
    assert len(data(path, "--kv", "tokenizer.ggml.tokens")["tokenizer.ggml.tokens"]) == 2048
    assert data(path, "--kv")["llama.block_count"] == 4


def test_a_template_and_a_conversation(made: Path) -> None:
    text = shown(made / "demo-Q8_0.gguf", "--template")
    source, _, prompt = text.partition("-------- a conversation with this template --------\n")
    assert "{% for message in messages %}" in source
    assert prompt.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")
    assert prompt.rstrip("\n").endswith("<|im_start|>assistant")
    found = data(made / "demo-Q8_0.gguf", "--template")
    assert found["problem"] is None
    assert found["messages"][0]["role"] == "system"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% if %}", "is broken"),
        ("{{ raise_exception('not like this') }}", "not like this"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "did not finish"),
    ],
)
def test_a_template_that_fails_is_told_of(template: str, words: str, tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "m.gguf", width=64, layers=1, template=template)
    result = localllm("inspect", path, "--template")
    assert result.returncode == 0
    assert result.stdout == template + "\n"
    assert result.stderr.startswith("note: ")
    assert words in result.stderr


def test_what_changed(made: Path) -> None:
    lines = shown(made / "demo-Q4_K_M.gguf", "--diff", made / "demo-Q8_0.gguf").splitlines()
    assert "  ~ general.file_type: 15 -> 7" in lines
    assert "  ~ blk.*.attn_q.weight: Q4_K -> Q8_0 (4 tensors)" in lines
    assert not any("Vocabulary" in line for line in lines)
    same = shown(made / "demo-Q8_0.gguf", "--diff", made / "demo-Q8_0.gguf")
    assert "the same; weights are not compared" in same
    found = data(made / "demo-Q4_K_M.gguf", "--diff", made / "demo-Q8_0.gguf")
    assert found["metadata_changed"] == {"general.file_type": {"old": 15, "new": 7, "differing": None}}


def test_a_split_model_is_its_checkpoint(made: Path, demo_checkpoint: Path) -> None:
    """A checkpoint is compared as the file a conversion would write."""
    assert "the same" in shown(demo_checkpoint, "--diff", made / "split-00002-of-00004.gguf")


# other files -------------------------------------------------------------------------------------


def test_an_adapter_file(made: Path) -> None:
    found = data(made / "adapter.gguf")
    assert (found["kind"], found["architecture"]) == ("adapter", "llama")
    assert found["adapter"]["rank"] == [8]
    assert found["adapter"]["layers"] == 4
    assert found["adapter"]["modules"]["attn_q"] == 4
    assert "(LoRA adapter)" in shown(made / "adapter.gguf").splitlines()[0]


def test_an_adapter_directory(demo_adapter: Path) -> None:
    for model in (demo_adapter, "demo-persona"):
        found = data(model)
        assert found["kind"] == "adapter"
        assert (found["adapter"]["rank"], found["adapter"]["alpha"]) == ([8], 16.0)
        assert found["adapter"]["modules"]["self_attn.q_proj"] == 4
        assert found["problems"] == []
    assert shown(demo_adapter, "--kv", "r") == "8\n"
    assert "lora_A" in shown(demo_adapter, "--tensors")


def test_an_adapter_that_cannot_be_converted_is_described(demo_adapter: Path, tmp_path: Path) -> None:
    copy = tmp_path / "adapter"
    shutil.copytree(demo_adapter, copy)
    settings = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**settings, "peft_type": "LOHA"}))
    found = data(copy)
    assert found["adapter"]["type"] == "loha"
    assert found["tensors"] == 56
    assert "only LoRA can be converted" in found["problems"][0]["message"]


def test_importance_matrices(made: Path, tmp_path: Path) -> None:
    found = data(made / "demo-imatrix.gguf")
    assert found["kind"] == "imatrix"
    matrix = found["imatrix"]
    assert (matrix["entries"], matrix["layers"], matrix["chunks"], matrix["chunk_size"]) == (28, 4, 2, 512)
    old = data(legacy_imatrix(tmp_path / "old"))
    assert old["kind"] == "imatrix"
    assert old["imatrix"] == {
        "entries": 1,
        "layers": 1,
        "experts": 1,
        "datasets": ["x.txt"],
        "chunks": 7,
        "chunk_size": 0,
        "format": "legacy",
    }
    assert "no tensors" in error(legacy_imatrix(tmp_path / "old.dat"), "--tensors", status=2)


def test_a_vocabulary_alone(material: Path) -> None:
    path = material / "weights" / "gguf-fixtures-gridcore" / "vocab-bpe-llama3.gguf"
    found = data(path)
    assert found["kind"] == "vocabulary"
    assert found["vocabulary"]["size"] == 287
    assert found["memory"] is None


def test_a_safetensors_file(demo_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "some weights.bin"  # told by what it begins with
    shutil.copy(demo_checkpoint / "model.safetensors", copy)
    found = data(copy)
    assert (found["kind"], found["parameters"], found["tensors"]) == ("weights", 3_672_320, 38)
    assert found["types"] == [
        {"type": "BF16", "tensors": 38, "parameters": 3_672_320, "size_bytes": 2 * 3_672_320}
    ]
    assert found["metadata"] == {"format": "pt"}
    assert shown(copy, "--kv") == "format = pt\n"
    assert data(demo_checkpoint / "model.safetensors")["problems"][0]["topic"] == "checkpoint"


def test_a_checkpoint_and_all_it_can_become(demo_checkpoint: Path) -> None:
    found = data(demo_checkpoint)
    assert (found["kind"], found["architecture"]) == ("checkpoint", "llama")
    assert found["source"]["class_name"] == "LlamaForCausalLM"
    assert found["types"][0]["type"] == "BF16"
    assert found["size_bytes"] == (demo_checkpoint / "model.safetensors").stat().st_size
    planned = localllm("quantize", demo_checkpoint, "--plan", "-q", "all", "--json")
    wanted = {each["level"]: each["size_bytes"] for each in json.loads(planned.stdout)["data"]["levels"]}
    assert {each["level"]: each["size_bytes"] for each in found["source"]["levels"]} == wanted
    text = shown(demo_checkpoint)
    assert "What it can become" in text
    assert "advised         Q8_0" in text
    assert shown(demo_checkpoint, "--kv", "num_hidden_layers") == "4\n"
    assert "<|im_start|>assistant" in shown(demo_checkpoint, "--template")
    assert "model.embed_tokens.weight" in shown(demo_checkpoint, "--tensors")


def test_a_checkpoint_whose_rows_fit_no_large_block(material: Path) -> None:
    found = data(material / "weights" / "stories260K-hf-derived")
    levels = {each["level"]: each for each in found["source"]["levels"]}
    misfits = found["source"]["misfits"]
    assert {(each["name"], each["row"]) for each in misfits} >= {("blk.*.attn_q.weight", 64)}
    embedding = 1  # llama.cpp chooses another type for it at once
    assert sum(each["tensors"] for each in misfits) == levels["Q4_K_M"]["fallbacks"] + embedding
    text = shown(material / "weights" / "stories260K-hf-derived")
    assert "rows of 172 do not fit blocks of 256: blk.*.ffn_down" in text


def test_a_checkpoint_that_is_refused_is_described(demo_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "alien"
    shutil.copytree(demo_checkpoint, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["AlienForCausalLM"]}))
    found = data(copy)
    assert "`AlienForCausalLM` is not supported" in found["problems"][0]["message"]
    assert found["source"]["levels"] == []
    assert (found["parameters"], found["dimensions"]["layers"]) == (3_672_320, 4)
    assert found["template"]["source"]


def test_a_checkpoint_without_weights(material: Path) -> None:
    found = data(material / "qwen" / "qwen3-sophgo")
    assert "no model*.safetensors" in found["problems"][0]["message"]
    assert found["dimensions"]["kv_heads"] == [8]
    assert found["vocabulary"]["size"] == 151_936
    assert found["template"]["tools"]


def test_a_checkpoint_without_its_tokenizer(demo_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mute"
    shutil.copytree(demo_checkpoint, copy)
    (copy / "tokenizer.json").unlink()
    found = data(copy)
    assert found["problems"][0]["topic"] == "tokenizer"
    assert found["dimensions"]["layers"] == 4
    assert found["source"]["levels"] == []


# a pipe ------------------------------------------------------------------------------------------


def piped(content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, "inspect", "-", *arguments],
        input=content,
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )


def test_a_pipe_is_read_as_far_as_the_header(made: Path) -> None:
    content = (made / "demo-Q8_0.gguf").read_bytes()
    whole = json.loads(piped(content, "--json").stdout)["data"]
    assert whole == {
        **data(made / "demo-Q8_0.gguf"),
        "path": "standard input",
        "files": [{"path": "standard input", "size_bytes": len(content)}],
        "memory": whole["memory"],
    }
    header = content[: whole["size_bytes"] - 3_900_000]
    assert json.loads(piped(header, "--json").stdout)["data"]["size_bytes"] == len(content)
    assert piped(content, "--tensors").stdout.count(b"\n") == 39


def feeding(*arguments: str) -> subprocess.Popen[bytes]:
    """Start `inspect -` with an unbuffered pipe to write to."""
    return subprocess.Popen(
        [*COMMAND, "inspect", "-", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        bufsize=0,
    )


def test_what_follows_the_header_is_not_waited_for(made: Path) -> None:
    """The writer keeps the pipe open and writes no more: nobody waits for it."""
    with feeding() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((made / "demo-Q8_0.gguf").read_bytes()[:65_536])
        assert b"Q8_0" in process.stdout.read()
        assert process.wait(timeout=60) == 0


def test_an_endless_pipe_ends(made: Path) -> None:
    with feeding("--kv", "general.name") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with pytest.raises(BrokenPipeError):
            process.stdin.write((made / "demo-Q8_0.gguf").read_bytes())
            for _ in range(1000):
                process.stdin.write(bytes(1_000_000))
        assert process.stdout.read() == b"Demo\n"
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", b"nothing came through standard input"),
        (b"GG", b"truncated"),
        (b"GGUF\x03\0\0\0", b"truncated"),
        (b"hello, world", b"not a GGUF file"),
        (b"GGUF" + bytes(10_000), b"version 0 is not supported"),
    ],
)
def test_a_pipe_with_something_else(content: bytes, words: bytes) -> None:
    result = piped(content)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert words in lines[0]
    assert [line.split(b":")[0] for line in lines] == [b"error", b"hint"]


def test_a_pipe_cut_off_inside_the_header(made: Path) -> None:
    result = piped((made / "demo-Q8_0.gguf").read_bytes()[:20_000])
    assert result.returncode == 1
    assert b"it ends inside its header after 20000 bytes" in result.stderr


# what cannot work --------------------------------------------------------------------------------


def test_bad_input(made: Path, tmp_path: Path) -> None:
    model = made / "demo-Q8_0.gguf"
    (tmp_path / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.safetensors").write_bytes(b'\x08\0\0\0\0\0\0\0{"a": 1}')
    (tmp_path / "text.txt").write_text("just a text\n" * 20)
    assert "Git LFS pointer" in error(tmp_path / "pointer.gguf")
    assert "neither GGUF files nor a checkpoint" in error(tmp_path / "empty")
    assert "not a valid safetensors file" in error(tmp_path / "bad.safetensors")
    assert "not a GGUF file" in error(tmp_path / "text.txt")
    assert "no such file" in error(tmp_path / "missing.gguf")
    assert "no model called `nobody`" in error("nobody")
    assert "has no metadata `llama.block_coun`" in error(model, "--kv", "llama.block_coun")
    assert "is a second argument" in error(model, "general.name", status=2)
    assert "one at a time" in error(model, "--tensors", "--template", status=2)
    assert "no such file" in error(model, "--diff", tmp_path / "missing.gguf")
    assert "cannot be compared" in error(model, "--diff", legacy_imatrix(tmp_path / "m.dat"), status=2)
    assert "has no chat template" in error(made / "demo-imatrix.gguf", "--template")


def test_a_level_of_a_checkpoint_that_was_not_made(pinned_environment: Path) -> None:
    assert "there is no GGUF file of it yet" in error("demo:Q4_K_M", status=2)
