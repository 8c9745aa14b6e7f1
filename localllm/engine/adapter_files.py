"""Looks at a GGUF adapter before llama.cpp does, which ends the process over some of them."""

from __future__ import annotations

from pathlib import Path

from localllm.errors import InvalidGGUFError, NotFoundError
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import Key, ValueType

_ALPHA = "adapter.lora.alpha"
_KINDS = {Key.TYPE: "adapter", "adapter.type": "lora"}
_PARTS = (".lora_a", ".lora_b")
_NO_WEIGHTS = ("I8", "I16", "I32", "I64", "F64")  # ggml cannot multiply with them


def require_adapter(path: Path, model: GGUFHeader) -> None:
    """Raise NotFoundError or InvalidGGUFError when `path` is no LoRA adapter for a model like `model`."""
    if not path.is_file():
        raise NotFoundError(f"no such adapter: {path}")
    header = read_header(path)
    problem = _problem(header, model)
    if problem:
        raise InvalidGGUFError(f"{path}: {problem}", hint="name an adapter made for this model")


def _problem(header: GGUFHeader, model: GGUFHeader) -> str | None:
    for key, wanted in _KINDS.items():
        if header.text(key) != wanted:
            return f"it is no LoRA adapter: {key} is {header.metadata.get(key)!r}, not '{wanted}'"
    if header.architecture != model.architecture:
        return f"it is for {header.architecture} models, and this one is {model.architecture}"
    alpha = header.encoded.get(_ALPHA)
    if alpha is not None and alpha.type is not ValueType.FLOAT32:
        return f"{_ALPHA} is no 32-bit float"
    for tensor in header.tensors:
        if tensor.name.endswith(_PARTS) and (tensor.type.name in _NO_WEIGHTS or len(tensor.shape) < 2):
            return f"`{tensor.name}` cannot be multiplied with"
    return None
