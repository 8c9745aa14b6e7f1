"""GGUF files that hold a vocabulary alone."""

from __future__ import annotations

from pathlib import Path

from localllm.checkpoint import Checkpoint
from localllm.conversion.special_tokens import special_token_metadata
from localllm.conversion.tokens import Vocabulary
from localllm.gguf_file import GGUFWriter
from localllm.gguf_file.writer import string


def write_vocabulary(directory: Path, checkpoint: Checkpoint, vocabulary: Vocabulary) -> Path:
    """Write vocabulary.gguf and return its path."""
    metadata = {
        "general.architecture": string("llama"),
        **vocabulary.metadata(),
        **special_token_metadata(checkpoint, vocabulary),
    }
    path = directory / "vocabulary.gguf"
    with path.open("wb") as file:
        GGUFWriter(file, metadata, ()).finish()
    return path
