"""A Hugging Face checkpoint directory: its configuration, tokenizer files and lazy tensors.

Headers are validated by the `safetensors` package before a byte of weights is used. Pickled weights
are recognised and refused, never opened; `auto_map` and other remote code is never looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from localllm.checkpoint.safetensors_file import read_safetensors
from localllm.checkpoint.tensor import StoredTensor, Tensor
from localllm.errors import CheckpointError, NotFoundError, UnsupportedModelError

WEIGHTS_INDEX = "model.safetensors.index.json"
MAX_JSON_BYTES = 256 * 1024 * 1024
TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Checkpoint:
    """A validated checkpoint directory.

    `config` is config.json as written; `tensors` maps names to lazy tensors in file order (shards
    sorted by name, tensors sorted by name within a shard). `overlays` are directories whose tokenizer
    files come before the checkpoint's own, the last one first.
    """

    directory: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[Path, ...] = ()

    @property
    def architecture(self) -> str:
        """Return the model class named first in config.json."""
        return architecture_of(self.config)

    def file(self, name: str) -> Path | None:
        """Return the path of a file in the directory, or None when it is not there."""
        places = (*reversed(self.overlays), self.directory) if name in TOKENIZER_FILES else (self.directory,)
        return next((place / name for place in places if (place / name).is_file()), None)

    def with_files_of(self, directory: Path) -> Checkpoint:
        """Return the checkpoint with the tokenizer files of `directory` before its own."""
        overlays = (*self.overlays, directory)
        tokenizer_config = _optional_object(directory / "tokenizer_config.json") or self.tokenizer_config
        return replace(self, overlays=overlays, tokenizer_config=tokenizer_config)

    def json(self, name: str) -> Any:
        """Return the content of a JSON file in the directory, or None when it is not there."""
        path = self.file(name)
        return None if path is None else read_json(path)

    def text(self, name: str) -> str | None:
        """Return the content of a text file in the directory, or None when it is not there."""
        path = self.file(name)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")


def architecture_of(config: Mapping[str, Any]) -> str:
    """Return the model class named first in the content of config.json, or an empty text."""
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def is_checkpoint(path: Path) -> bool:
    """Tell whether `path` looks like a checkpoint directory."""
    return path.is_dir() and (path / "config.json").is_file()


def open_checkpoint(directory: Path) -> Checkpoint:
    """Read and validate a checkpoint directory without reading any weights.

    Raise NotFoundError, CheckpointError or UnsupportedModelError with a hint.
    """
    if not directory.exists():
        raise NotFoundError(
            f"no such directory: {directory}",
            hint="pass the directory that holds config.json and model.safetensors",
        )
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} is a file, not a checkpoint directory",
            hint="pass the directory that holds config.json and model.safetensors",
        )
    config = read_config(directory)
    return Checkpoint(
        directory=directory,
        config=config,
        tensors=_open_weights(directory),
        generation_config=_optional_object(directory / "generation_config.json"),
        tokenizer_config=_optional_object(directory / "tokenizer_config.json"),
    )


def read_config(directory: Path) -> dict[str, Any]:
    """Return the content of config.json. Raise NotFoundError, CheckpointError or UnsupportedModelError."""
    path = directory / "config.json"
    if not path.is_file():
        if (directory / "adapter_config.json").is_file():
            raise UnsupportedModelError(
                f"{directory} is a LoRA adapter, not a model",
                hint="merge it into its base model first, then convert the merged directory",
            )
        raise CheckpointError(
            f"{directory} has no config.json", hint="is it a Hugging Face checkpoint directory?"
        )
    config = read_json(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return config


def _optional_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that may be missing; damaged side files count as missing, config.json does not."""
    if not path.is_file():
        return {}
    try:
        value = read_json(path)
    except CheckpointError:
        return {}
    return value if isinstance(value, dict) else {}


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raise CheckpointError when it is huge or not JSON."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_JSON_BYTES} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "too deeply nested"
        raise CheckpointError(f"{path} is not valid JSON: {reason}") from None


def _open_weights(directory: Path) -> dict[str, StoredTensor]:
    index = directory / WEIGHTS_INDEX
    expected: dict[str, str] | None = None
    if index.is_file():
        expected = _weight_map(index)
        shards = [directory / name for name in sorted(set(expected.values()))]
    else:
        shards = sorted(directory.glob("model*.safetensors"))
        if not shards:
            raise _no_weights(directory)
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        for tensor in read_safetensors(shard):
            if tensor.name in tensors:
                raise CheckpointError(
                    f"tensor `{tensor.name}` is in {tensors[tensor.name].path.name} and in {shard.name}",
                    hint="remove the stray weight file from the directory",
                )
            tensors[tensor.name] = tensor
    if expected is not None:
        _check_index(index, expected, tensors)
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or name.startswith("."):
            raise CheckpointError(f"{index} names a file outside its directory: {name!r}")
    return weight_map


def _check_index(index: Path, expected: dict[str, str], found: Mapping[str, Tensor]) -> None:
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing:
        raise CheckpointError(f"{index.name} lists `{missing[0]}`, but no shard holds it")
    if extra:
        raise CheckpointError(f"`{extra[0]}` is in a shard, but not in {index.name}")


def _no_weights(directory: Path) -> CheckpointError:
    pickled = sorted(path.name for path in directory.iterdir() if path.suffix in _PICKLED_SUFFIXES)
    if pickled:
        return UnsupportedModelError(
            f"{directory} holds only pickled weights ({pickled[0]}), which can run code when opened",
            hint="save the model again with `save_pretrained(..., safe_serialization=True)`",
        )
    return CheckpointError(
        f"{directory} has no model*.safetensors", hint="the weights must be saved as safetensors"
    )
