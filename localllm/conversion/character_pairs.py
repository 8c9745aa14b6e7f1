"""A vocabulary out of a tokenizer.json that merges pairs of characters and falls back to bytes.

llama.cpp runs such a one by scores, as SentencePiece, or, as a vocabulary of kind `gemma4`, by its pairs: it
marks spaces, cuts at line ends and merges text as it is, not its bytes. Scores mean nothing there, and no
pre-tokenizer is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.byte_level import own_tokens, written_merges
from localllm.conversion.tokens import (
    ALWAYS_VISIBLE,
    SPACE_MARK,
    TokenType,
    Vocabulary,
    added_tokens,
    named_specials,
)

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SCORE = -1000.0


def paired_vocabulary(
    checkpoint: Checkpoint, content: Mapping[str, Any], source: str, kind: str, rows: int
) -> Vocabulary:
    """Build the vocabulary, added tokens included; `kind` is llama.cpp's name for it.

    Texts are written as they are, their spaces marked. An added token that is not special is found in any
    text, as `tokenizers` does, unless it has marked spaces: no text has those, pairs make it.
    """
    vocabulary = Vocabulary.normal(source, kind, "", rows, own_tokens(content, rows))
    vocabulary.scores = [_SCORE] * rows
    vocabulary.merges = written_merges(content["model"]["merges"])
    vocabulary.adds_space, vocabulary.adds_bos = False, True  # llama.cpp does, whatever the file says
    vocabulary.post_processor = content.get("post_processor")
    for index, text in enumerate(vocabulary.tokens):
        if _BYTE.fullmatch(text):
            vocabulary.types[index] = int(TokenType.BYTE)
    special = set(named_specials(checkpoint.tokenizer_config))
    for index, entry in added_tokens(content, checkpoint.tokenizer_config).items():
        kind_of = TokenType.NORMAL if SPACE_MARK in entry["content"] else TokenType.USER_DEFINED
        kind_of = TokenType.CONTROL if entry.get("special") else kind_of
        vocabulary.add(index, entry["content"], kind_of, _SCORE)
    for index, text in enumerate(vocabulary.tokens):
        if text in ALWAYS_VISIBLE:
            vocabulary.types[index] = int(TokenType.USER_DEFINED)
        elif text in special:
            vocabulary.types[index] = int(TokenType.CONTROL)
    return vocabulary
