"""A Hugging Face checkpoint directory: its configuration, tokenizer files and lazy tensors.

Custom code that config.json names (`auto_map`) is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from localllm.checkpoint.json_file import read_json
from localllm.checkpoint.tensor import Tensor
from localllm.checkpoint.weights import open_weights
from localllm.errors import CheckpointError, NotFoundError, UnsupportedModelError

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


@dataclass(frozen=True)
class Checkpoint:
    """A validated checkpoint directory.

    `config` is config.json as written; `tensors` maps names to lazy tensors in file order (shards
    sorted by name, tensors sorted by name within a shard). `overlays` are directories whose tokenizer
    files come before the checkpoint's own, the last one first; those of `fallback` fill the gaps.
    """

    directory: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[Path, ...] = ()
    fallback: Path | None = None

    @property
    def architecture(self) -> str:
        """Return the model class named first in config.json."""
        return architecture_of(self.config)

    def file(self, name: str) -> Path | None:
        """Return the path of a file in the directory, or None when it is not there."""
        places: tuple[Path, ...] = (self.directory,)
        if name in TOKENIZER_FILES:
            places = (*reversed(self.overlays), *places, *((self.fallback,) if self.fallback else ()))
        return next((place / name for place in places if (place / name).is_file()), None)

    def with_files_of(self, directory: Path) -> Checkpoint:
        """Return the checkpoint with the tokenizer files of `directory` before its own."""
        overlays = (*self.overlays, directory)
        tokenizer_config = _tokenizer_config(directory) or self.tokenizer_config
        return replace(self, overlays=overlays, tokenizer_config=tokenizer_config)

    def completed_from(self, directory: Path) -> Checkpoint:
        """Return the checkpoint with the tokenizer files it lacks taken from `directory`."""
        tokenizer_config = self.tokenizer_config or _tokenizer_config(directory)
        return replace(self, fallback=directory, tokenizer_config=tokenizer_config)

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
    return replace(open_without_weights(directory), tensors=open_weights(directory))


def open_without_weights(directory: Path) -> Checkpoint:
    """Read a checkpoint directory as if it had no weights: configuration and tokenizer files.

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
    return Checkpoint(
        directory=directory,
        config=read_config(directory),
        tensors={},
        generation_config=_optional_object(directory / "generation_config.json"),
        tokenizer_config=_tokenizer_config(directory),
    )


def read_config(directory: Path) -> dict[str, Any]:
    """Return the content of config.json. Raise NotFoundError, CheckpointError or UnsupportedModelError."""
    path = directory / "config.json"
    if not path.is_file():
        if (directory / "adapter_config.json").is_file():
            raise UnsupportedModelError(
                f"{directory} is a LoRA adapter, not a model",
                hint="name its base, too: `localllm convert ADAPTER --base BASE`",
            )
        raise CheckpointError(
            f"{directory} has no config.json", hint="is it a Hugging Face checkpoint directory?"
        )
    config = read_json(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return config


def _tokenizer_config(directory: Path) -> dict[str, Any]:
    """Read tokenizer_config.json, which may be missing but not damaged: the chat template may be in it."""
    path = directory / "tokenizer_config.json"
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} does not hold a JSON object", hint="copy the base model's, or save the tokenizer again"
        )
    return value


def _optional_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that may be missing; a damaged one counts as missing."""
    if not path.is_file():
        return {}
    try:
        value = read_json(path)
    except CheckpointError:
        return {}
    return value if isinstance(value, dict) else {}
