"""`localllm inspect` of what is not here: headers come, weights do not, and what is said is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localllm.gguf_file import GGUFHeader, GGUFWriter, read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, ValueType
from localllm.gguf_file.writer import TensorEntry, TypedValue, string, uint32
from tests.cli.process import localllm
from tests.hub.pulling import DEMO, FILE, GGUF, MIB, PATTERN, home_of, pull
from tests.hub.repos import Blob
from tests.hub.stand_in import Fault, HubStandIn, Repo
from tests.tiny_gguf import build_tiny_gguf

LARGE = 4 * 1024**3


def described(env: dict[str, str], *arguments: str) -> dict[str, Any]:
    done = localllm("inspect", *arguments, "--json", env=env)
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


def large_gguf(path: Path, vocabulary: int = 150_000) -> GGUFHeader:
    """Write the header of a model with a large vocabulary; its 4 GB of weights are a hole."""
    tokens = [f"token number {index}" for index in range(vocabulary)]
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": uint32(1),
        "llama.context_length": uint32(4096),
        "llama.embedding_length": uint32(4096),
        "llama.attention.head_count": uint32(32),
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.tokens": TypedValue(ValueType.ARRAY, tokens, ValueType.STRING),
    }
    rows = LARGE // (4096 * 2)
    entries = [TensorEntry("token_embd.weight", (4096, rows), TENSOR_TYPES_BY_NAME["F16"])]
    with path.open("wb") as file:
        GGUFWriter(file, metadata, entries)
        start = file.tell()
        file.truncate(start + LARGE)
    return read_header(path)


def test_only_the_header_of_a_large_file_comes(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    header = large_gguf(path)
    with HubStandIn([Repo(GGUF, {FILE: Blob(path, sha256="0" * 64)})]) as hub:
        found = described(home_of(hub, tmp_path), f"{GGUF}:Q4_K_M")
        assert found["size_bytes"] == path.stat().st_size > LARGE
        assert hub.bytes_sent(PATTERN) <= 1.1 * header.data_offset + 1_000_000
        assert len([request for request in hub.requests if request.port == "cdn"]) < 20
    assert not (tmp_path / "huggingface").exists()


def same_but_for_places(one: Any, other: Any) -> bool:
    """Tell whether two descriptions agree, paths and free memory aside."""
    skipped = ("path", "label", "files", "file", "memory", "fit")
    return all(one[key] == other[key] for key in one if key not in skipped)


def test_from_afar_the_same_is_said(tmp_path: Path) -> None:
    model = tmp_path / FILE
    build_tiny_gguf(model)
    with HubStandIn([Repo(GGUF, {FILE: model})], files={FILE: model}) as hub:
        env = home_of(hub, tmp_path)
        here = described(env, str(model))
        assert same_but_for_places(described(env, f"{GGUF}:Q4_K_M"), here)
        assert same_but_for_places(described(env, hub.file_url(FILE)), here)
        tensors = localllm("inspect", f"{GGUF}/{FILE}", "--tensors", env=env)
        assert tensors.stdout == localllm("inspect", str(model), "--tensors", env=env).stdout


def test_a_checkpoint_is_described_with_the_size_of_every_level(tmp_path: Path) -> None:
    files = {path.name: path for path in DEMO.iterdir() if path.is_file()}
    with HubStandIn([Repo("org/model", files)]) as hub:
        env = home_of(hub, tmp_path)
        afar = localllm("inspect", "org/model", env=env)
        assert afar.returncode == 0, afar.stderr
        assert hub.bytes_sent("*.safetensors") < 70_000
        plan = localllm("quantize", str(DEMO), "-q", "all", "--plan", "--json", env=env)
        sizes = {level["level"]: level["size_bytes"] for level in json.loads(plan.stdout)["data"]["levels"]}
        assert len(sizes) == 12
        text = json.dumps(described(env, "org/model"))
        for level, size in sizes.items():
            assert f'"{level}"' in text
            assert str(size) in text
        assert str(tmp_path) not in afar.stdout + afar.stderr
        hub.clear_log()
        assert pull(env, "org/model").returncode == 0
        assert hub.bytes_sent("*tokenizer.json") == 0  # inspecting has left it in the cache


def test_the_files_of_a_split_model_are_described_together(tmp_path: Path) -> None:
    split = localllm(
        "convert", str(DEMO), "--split-max-size", "2M", "-o", str(tmp_path / "s" / "m-BF16.gguf")
    )
    assert split.returncode == 0, split.stderr
    parts = {path.name: path for path in (tmp_path / "s").glob("*.gguf")}
    assert len(parts) > 1
    with HubStandIn([Repo(GGUF, parts)]) as hub:
        env = home_of(hub, tmp_path)
        first = tmp_path / "s" / min(parts)
        assert same_but_for_places(described(env, f"{GGUF}:BF16"), described(env, str(first)))


FAULTS = {
    "dropped": ([Fault.drop(PATTERN, after_bytes=100, times=2)], ""),
    "ranges ignored": ([Fault.ignore_range(PATTERN, times=None)], "does not give parts of files"),
    "refused": ([Fault.server_error(PATTERN, 503, times=2)], ""),
    "another length": ([Fault.html_page(PATTERN, times=None)], "does not give parts of files"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path) -> None:
    faults, message = FAULTS[name]
    model = tmp_path / FILE
    build_tiny_gguf(model)
    with HubStandIn([Repo(GGUF, {FILE: model, "other-Q8_0.gguf": b"x" * MIB})]) as hub:
        hub.inject(*faults)
        done = localllm("inspect", f"{GGUF}:Q4_K_M", env=home_of(hub, tmp_path))
    assert (done.returncode == 0) == (message == ""), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with HubStandIn([Repo(GGUF, {FILE: b"no GGUF file at all" * 9})], files={"a.html": b"<html>"}) as hub:
        env = home_of(hub, tmp_path)
        noise = localllm("inspect", GGUF, env=env)
        assert (noise.returncode, "it is not a GGUF file" in noise.stderr) == (1, True)
        page = localllm("inspect", hub.file_url("a.html"), env=env)
        assert (page.returncode, "it is not a GGUF file" in page.stderr) == (1, True)
        hub.stop()
        gone = localllm("inspect", GGUF, env=env)
        assert (gone.returncode, "cannot reach" in gone.stderr) == (1, True)
        hub.start()
