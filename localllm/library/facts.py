"""The few facts a list shows of a model, read as quickly as they can be: never a whole vocabulary.

Writers put the architecture and its numbers in front of the vocabulary. The scan reads what is in front and
stops there; only a file that has them elsewhere, or is odd in any way, goes through the whole reader.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.checkpoint import architecture_of, read_json
from localllm.errors import LocalLLMError
from localllm.gguf_file import FileSource, read_header
from localllm.gguf_file.format import MAGIC, SCALAR_FORMATS, SUPPORTED_VERSIONS, Key, ValueType
from localllm.library.weights import ADAPTER_CONFIG, CONFIG

OTHER = "other"
_LANGUAGE_MODELS = ("CausalLM", "LMHeadModel")
_WITH_IMAGES = "ForConditionalGeneration"
_SCANNED_BYTES = 64 * 1024
_DAMAGED = "damaged"
_CONTEXT = "context_length"
_NESTED = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True)
class Facts:
    """What a list shows; `problem` says why the rest is empty.

    `type` is `general.type` of a GGUF file, and OTHER for a checkpoint that writes no text.
    """

    architecture: str = ""
    context_length: int | None = None
    type: str = ""
    problem: str | None = None


def gguf_facts(path: Path) -> Facts:
    """Return the facts of a GGUF file from the beginning of its header."""
    try:
        values = _scanned(path) or _read(path)
    except LocalLLMError as error:
        return Facts(problem=f"{_DAMAGED}: {reason(error, path)}")
    architecture = str(values.get(Key.ARCHITECTURE, ""))
    context = values.get(f"{architecture}.{_CONTEXT}")
    return Facts(
        architecture,
        context if isinstance(context, int) and context > 0 else None,
        str(values.get(Key.TYPE, "")),
    )


def directory_facts(directory: Path, *, is_complete: bool) -> Facts:
    """Return the facts of a checkpoint or an adapter from its settings."""
    config = directory / CONFIG
    is_adapter = not config.is_file()
    try:
        values = read_json(directory / ADAPTER_CONFIG if is_adapter else config)
    except (LocalLLMError, OSError) as error:
        return Facts(problem=f"{_DAMAGED}: {error}")
    if not isinstance(values, dict):
        return Facts(problem=f"{_DAMAGED}: its settings are no JSON object")
    problem = None if is_complete else "weights are missing"
    if is_adapter:
        return Facts(str(values.get("peft_type") or "LoRA").lower(), problem=problem)
    architecture = str(values.get("model_type") or architecture_of(values))
    return Facts(architecture, _context(values), "" if _writes_text(values) else OTHER, problem)


def _writes_text(config: dict[str, Any]) -> bool:
    """Tell by its class whether a checkpoint is a language model: caches hold encoders and others, too."""
    name = architecture_of(config)
    return not name or name.endswith(_LANGUAGE_MODELS) or (_WITH_IMAGES in name and "text_config" in config)


def reason(error: LocalLLMError, path: Path) -> str:
    """Return what is wrong with a file, without its path in front."""
    return error.message.removeprefix(f"{path}: ")


def _context(config: dict[str, Any]) -> int | None:
    nested = [config[key] for key in _NESTED if isinstance(config.get(key), dict)]
    for settings in (config, *nested):
        for key in ("max_position_embeddings", "n_positions", "max_sequence_length"):
            value = settings.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def _read(path: Path) -> dict[str, object]:
    return dict(read_header(path).metadata)


def _scanned(path: Path) -> dict[str, object] | None:
    """Return the metadata up to the context length; None when that is not how this file begins."""
    source = FileSource(path)
    try:
        data = source.read_at(0, _SCANNED_BYTES)
    finally:
        source.close()
    try:
        return _walk(data)
    except (struct.error, ValueError, IndexError):
        return None


def _walk(data: bytes) -> dict[str, object] | None:
    magic, version, _, pairs = struct.unpack_from("<4sIQQ", data)
    if magic != MAGIC or version not in SUPPORTED_VERSIONS:
        return None
    position, values = 24, dict[str, object]()
    for _ in range(pairs):
        key, position = _string(data, position)
        (code,) = struct.unpack_from("<I", data, position)
        kind, position = ValueType(code), position + 4
        if kind is ValueType.ARRAY:
            item, count = struct.unpack_from("<IQ", data, position)
            if item not in SCALAR_FORMATS:
                return None  # lists of texts are long
            position += 12 + count * SCALAR_FORMATS[ValueType(item)][1]
        elif kind is ValueType.STRING:
            values[key], position = _string(data, position)
        else:
            character, size = SCALAR_FORMATS[kind]
            (values[key],) = struct.unpack_from(f"<{character}", data, position)
            position += size
        if f"{values.get(Key.ARCHITECTURE)}.{_CONTEXT}" in values:
            return values
    return None


def _string(data: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, position)
    end = position + 8 + length
    if end > len(data):
        raise ValueError("a text goes on behind what was read")
    return data[position + 8 : end].decode("utf-8", "replace"), end
