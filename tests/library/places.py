"""A cache in the layout of huggingface_hub and a library, filled with small files that look like models."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from localllm.hub.cache import CachedRepo, RepoFile, cached_repo
from localllm.store import models_directory, output_path

COMMIT, OTHER = "a" * 40, "b" * 40
SMALL = 100_000  # what git keeps itself, under its own hash


def gguf(
    architecture: str = "qwen2",
    context: int | None = 32768,
    *,
    kind: str = "model",
    tokens: int = 0,
    payload: bytes = b"",
    late: bool = False,
) -> bytes:
    """Return a GGUF file without tensors; `late` puts the context behind the vocabulary of `tokens`."""
    pairs = [_text("general.architecture", architecture), _text("general.type", kind)]
    number = [] if context is None else [_number(f"{architecture}.context_length", context)]
    vocabulary = [_texts("tokenizer.ggml.tokens", [f"token{index}" for index in range(tokens)])]
    pairs += [*vocabulary, *number] if late else [*number, *vocabulary]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs) + payload


def put_cached(
    repo: str,
    files: Mapping[str, bytes],
    *,
    commit: str = COMMIT,
    revision: str | None = "main",
    tree: bool = True,
    copies: bool = False,
) -> CachedRepo:
    """Put files of a commit into the cache as huggingface_hub does; `copies` as where there are no links."""
    cached = cached_repo(repo)
    entries = [repo_file(path, content) for path, content in files.items()]
    for entry, content in zip(entries, files.values(), strict=True):
        blob = cached.blob(entry.etag)
        blob.parent.mkdir(parents=True, exist_ok=True)
        lock = cached.lock(entry.etag)
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        if not os.path.lexists(blob):
            blob.write_bytes(content)
        if copies:
            place = cached.place(entry, commit)
            place.parent.mkdir(parents=True, exist_ok=True)
            blob.replace(place)
        else:
            cached.link(entry, commit)
    if tree:
        cached.save_tree(commit, entries)
    if revision is not None:
        cached.save_revision(revision, commit)
    return cached


def repo_file(path: str, content: bytes) -> RepoFile:
    """Describe a file as the hub does: by sha256 when it is large or holds weights."""
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    is_large = path.endswith((".gguf", ".safetensors")) or len(content) > SMALL
    return RepoFile(path, len(content), oid, hashlib.sha256(content).hexdigest() if is_large else None)


def put_stored(name: str, level: str, content: bytes | None = None) -> Path:
    """Put a model into the library."""
    path = output_path(name, level)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf() if content is None else content)
    return path


def put_checkpoint(name: str, *, adapter: bool = False) -> Path:
    """Put a checkpoint or an adapter into the library."""
    directory = models_directory() / name
    directory.mkdir(parents=True, exist_ok=True)
    for file, content in (adapter_files() if adapter else checkpoint_files()).items():
        (directory / file).write_bytes(content)
    return directory


def checkpoint_files() -> dict[str, bytes]:
    config = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "max_position_embeddings": 32768}
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": safetensors(),
    }


def adapter_files() -> dict[str, bytes]:
    config = {"peft_type": "LORA", "base_model_name_or_path": "demo", "r": 4}
    return {"adapter_config.json": json.dumps(config).encode(), "adapter_model.safetensors": safetensors()}


def safetensors(values: int = 4) -> bytes:
    header = {"a": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4 * values)


def _bytes(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _text(key: str, value: str) -> bytes:
    return _bytes(key) + struct.pack("<I", 8) + _bytes(value)


def _number(key: str, value: int) -> bytes:
    return _bytes(key) + struct.pack("<II", 4, value)


def _texts(key: str, values: list[str]) -> bytes:
    return _bytes(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(_bytes, values))
