"""Asks llama.cpp to tokenize with the vocabulary of a GGUF file, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localllm.events import Emit
from localllm.native.model import Model
from localllm.native.worker import run_job


def tokenize_with_file(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, without BOS and EOS and without parsing control tokens.

    Raise ModelLoadError when llama.cpp cannot load the vocabulary.
    """
    result = run_job("localllm.native.vocabulary:tokenize_job", {"path": str(path), "texts": list(texts)})
    return [list(ids) for ids in result]


def tokenize_job(arguments: dict[str, Any], emit: Emit) -> list[list[int]]:
    """Serve `tokenize_with_file` in the child."""
    with Model(Path(arguments["path"]), vocabulary_only=True) as model:
        return [model.tokenize(text, add_special=False, parse_special=False) for text in arguments["texts"]]
