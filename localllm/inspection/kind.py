"""What a file is, as far as its header tells."""

from __future__ import annotations

from enum import StrEnum

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key


class Kind(StrEnum):
    """What was inspected."""

    MODEL = "model"
    VOCABULARY = "vocabulary"  # a GGUF file without weights
    ADAPTER = "adapter"  # a LoRA adapter, as a GGUF file or as PEFT saves it
    PROJECTOR = "projector"  # what turns images or sound into a model's input
    IMATRIX = "imatrix"
    CHECKPOINT = "checkpoint"
    WEIGHTS = "weights"  # one safetensors file


_TYPES = {  # what `general.type` says
    "adapter": Kind.ADAPTER,
    "mmproj": Kind.PROJECTOR,
    "clip-vision": Kind.PROJECTOR,
    "imatrix": Kind.IMATRIX,
}
_PROJECTOR_ARCHITECTURE = "clip"


def kind_of(header: GGUFHeader) -> Kind:
    """Tell what a GGUF file holds."""
    stated = _TYPES.get(header.text(Key.TYPE))
    if stated is not None:
        return stated
    if header.architecture == _PROJECTOR_ARCHITECTURE:
        return Kind.PROJECTOR
    if not header.architecture and any(key.startswith("imatrix.") for key in header.metadata):
        return Kind.IMATRIX
    has_words = header.array(Key.TOKENS) is not None
    return Kind.VOCABULARY if has_words and not header.tensors else Kind.MODEL
