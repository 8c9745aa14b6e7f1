"""Tokens by id as GGUF stores them, and how the files of a checkpoint name special ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from localllm.errors import TokenizerError
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array, string

_SPACE_MARK = "\u2581"
_UNUSED_SCORE = -10000.0
_SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_SPECIAL_LOOKING = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")


class TokenType(IntEnum):
    """llama.cpp's token types (enum llama_token_type)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass
class Vocabulary:
    """Tokens by id, with what llama.cpp needs to use them; `merges` for BPE, `scores` for SentencePiece.

    `source` is the file it was built from. `adds_space` tells whether the tokenizer puts a space in
    front of every text; None where llama.cpp's default for the kind of vocabulary is right.
    """

    source: str
    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    adds_space: bool | None = None
    ids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def unused(cls, source: str, model: str, pre: str, rows: int, *, scored: bool = False) -> Vocabulary:
        """Return a vocabulary of `rows` unused tokens, to be filled."""
        tokens, types = [f"[PAD{index}]" for index in range(rows)], [int(TokenType.UNUSED)] * rows
        return cls(source, model, pre, tokens, types, [_UNUSED_SCORE] * rows if scored else None)

    def set(self, index: int, text: str, kind: int, score: float | None = None) -> None:
        """Define a token. Raise TokenizerError when it has no row in the embedding."""
        if not 0 <= index < len(self.tokens):
            raise TokenizerError(
                f"token {text!r} has id {index}, but the embedding has only {len(self.tokens)} rows",
                hint="the tokenizer belongs to another model, or the embedding was not resized for training",
            )
        self.tokens[index] = text
        self.types[index] = int(kind)
        if self.scores is not None and score is not None:
            self.scores[index] = score

    def metadata(self) -> dict[str, TypedValue]:
        """Return the tokenizer keys, special tokens excepted."""
        values = {
            Key.TOKENIZER_MODEL: string(self.model),
            Key.TOKENIZER_PRE: string(self.pre),
            Key.TOKENS: array(ValueType.STRING, self.tokens),
            Key.TOKEN_TYPES: array(ValueType.INT32, self.types),
        }
        if self.scores is not None:
            values[Key.SCORES] = array(ValueType.FLOAT32, self.scores)
        if self.merges is not None:
            values[Key.MERGES] = array(ValueType.STRING, self.merges)
        return {str(key): value for key, value in values.items()}


def looks_special(text: str) -> bool:
    """Tell whether a token's text marks it as a control token (the reference converter's rule)."""
    return (
        text in _SPECIAL_LOOKING
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<\uff5c") and text.endswith("\uff5c>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )


def added_token(entry: Mapping[str, Any]) -> tuple[str, TokenType]:
    """Return text and type of an entry of `added_tokens` or `added_tokens_decoder`."""
    text = str(entry["content"])
    if entry.get("special") or looks_special(text):
        return text, TokenType.CONTROL
    return text.replace(_SPACE_MARK, " "), TokenType.USER_DEFINED


def added_tokens(content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Collect added tokens by id; tokenizer.json wins over tokenizer_config.json."""
    tokens = {int(key): entry for key, entry in config.get("added_tokens_decoder", {}).items()}
    tokens.update({int(entry["id"]): entry for entry in content.get("added_tokens", [])})
    return tokens


def named_specials(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what tokenizer_config.json names as special: transformers makes those special, added or not."""
    entries = [config.get(f"{kind}_token") for kind in _SPECIAL_KINDS]
    for entry in (*entries, *(config.get("additional_special_tokens") or ())):
        text = entry.get("content") if isinstance(entry, Mapping) else entry
        if isinstance(text, str):
            yield text
