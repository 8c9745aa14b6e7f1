"""A model's vocabulary as GGUF stores it, built from the tokenizer files of a checkpoint.

The list always has exactly as many tokens as the embedding has rows: missing ids become unused `[PADn]`
tokens, a token beyond the last row is an error. Texts are unique, because llama.cpp aborts otherwise.
"""

from __future__ import annotations

from localllm.checkpoint import Checkpoint
from localllm.conversion.sentencepiece_model import open_sentencepiece, sentencepiece_vocabulary
from localllm.conversion.tokenizer_json import json_vocabulary
from localllm.conversion.tokens import Vocabulary
from localllm.errors import TokenizerError


def build_vocabulary(checkpoint: Checkpoint, rows: int, pre: str | None = None) -> Vocabulary:
    """Build the vocabulary for an embedding of `rows` rows.

    `pre` overrides the pre-tokenizer. Raise TokenizerError when there are no tokenizer files, a
    token has no row, or the pre-tokenizer is unknown.
    """
    pieces = open_sentencepiece(checkpoint) if checkpoint.file("tokenizer.model") else None
    has_json = checkpoint.file("tokenizer.json") is not None
    if pieces is not None and (pieces.vocab_size() <= rows or not has_json):
        vocabulary = sentencepiece_vocabulary(checkpoint, pieces, rows)
    elif has_json:  # also when tokenizer.model belongs to a larger vocabulary
        vocabulary = json_vocabulary(checkpoint, rows, pre)
    else:
        raise TokenizerError(
            f"{checkpoint.directory} has neither tokenizer.json nor tokenizer.model",
            hint="copy the tokenizer files of the base model into the directory",
        )
    _require_unique(vocabulary)
    vocabulary.ids = {text: index for index, text in enumerate(vocabulary.tokens)}
    return vocabulary


def _require_unique(vocabulary: Vocabulary) -> None:
    seen: set[str] = set()
    for index, text in enumerate(vocabulary.tokens):
        if text in seen:
            raise TokenizerError(f"token {text!r} appears twice in the vocabulary (again at id {index})")
        seen.add(text)
