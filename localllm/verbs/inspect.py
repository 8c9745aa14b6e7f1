"""`inspect`: what a GGUF file says of itself."""

from __future__ import annotations

from os import fspath

from localllm import inspection
from localllm.inspection import ModelDescription
from localllm.store import (
    existing_file,
)
from localllm.verbs.references import Model


def inspect(model: Model) -> ModelDescription:
    """Describe a GGUF file from its header."""
    return inspection.inspect(existing_file(fspath(model)))
