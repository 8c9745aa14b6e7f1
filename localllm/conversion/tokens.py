"""Tokens by id as GGUF stores them, and how the files of a checkpoint name special ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Any

from localllm.errors import TokenizerError
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array, string

SPACE_MARK = "\u2581"
_UNUSED_SCORE = -10000.0
TEXT_ENDS = ("bos", "eos")
SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_SPECIAL_LOOKING = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
# texts that llama.cpp's parser of chats must see, special or not
ALWAYS_VISIBLE = (
    *("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    '<|"|>',
)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
COPY_AGAIN = "copy the tokenizer files of the base model into the directory again"


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
    front of every text; None where llama.cpp's default for the kind of vocabulary is right. With `adds_bos`
    llama.cpp puts BOS in front of every text, whatever the file says. `post_processor` is tokenizer.json's
    entry of that name, unchecked. `beyond` holds added tokens that are left out: their ids have no row.
    """

    source: str
    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    adds_space: bool | None = None
    adds_bos: bool = False
    post_processor: Any = None
    ids: dict[str, int] = field(default_factory=dict)
    beyond: dict[int, str] = field(default_factory=dict)

    @classmethod
    def unused(cls, source: str, model: str, pre: str, rows: int, *, scored: bool = False) -> Vocabulary:
        """Return a vocabulary of `rows` unused tokens, to be filled."""
        tokens, types = [_filler(index) for index in range(rows)], [int(TokenType.UNUSED)] * rows
        return cls(source, model, pre, tokens, types, [_UNUSED_SCORE] * rows if scored else None)

    @classmethod
    def normal(cls, source: str, model: str, pre: str, rows: int, ids: Mapping[str, int]) -> Vocabulary:
        """Return a vocabulary of normal tokens, their ids by text, and unused ones where there are none.

        There may be hundreds of thousands. Raise TokenizerError for the first that has no row.
        """
        if ids and not (min(ids.values()) >= 0 and max(ids.values()) < rows):
            raise next(no_row(text, index, rows) for text, index in ids.items() if not 0 <= index < rows)
        tokens, types = [""] * rows, [int(TokenType.UNUSED)] * rows
        kind = int(TokenType.NORMAL)
        for text, index in ids.items():
            tokens[index] = text
            types[index] = kind
        vocabulary = cls(source, model, pre, tokens, types)
        for index in vocabulary.of_type(TokenType.UNUSED):
            tokens[index] = _filler(index)
        return vocabulary

    def set(self, index: int, text: str, kind: int, score: float | None = None) -> None:
        """Define a token. Raise TokenizerError when it has no row in the embedding."""
        if not 0 <= index < len(self.tokens):
            raise no_row(text, index, len(self.tokens))
        self.tokens[index] = text
        self.types[index] = int(kind)
        if self.scores is not None and score is not None:
            self.scores[index] = score

    def of_type(self, kind: int) -> list[int]:
        """Return the ids of all tokens of one kind."""
        return [index for index, own in enumerate(self.types) if own == kind]

    def add(self, index: int, text: str, kind: int, score: float | None = None) -> None:
        """Define an added token; without a row for it, note it in `beyond`."""
        if index >= len(self.tokens):
            self.beyond[index] = text
        else:
            self.set(index, text, kind, score)

    def rename_fillers(self) -> None:
        """Give the unused rows texts that no token has."""
        if len(set(self.tokens)) == len(self.tokens):
            return
        unused = self.of_type(TokenType.UNUSED)
        fillers = {index for index in unused if self.tokens[index] == _filler(index)}
        taken = {text for index, text in enumerate(self.tokens) if index not in fillers}
        for index in fillers:
            if self.tokens[index] in taken:
                names = (f"[PAD{index}_{number}]" for number in count(1))
                self.tokens[index] = next(name for name in names if name not in taken)

    def metadata(self) -> dict[str, TypedValue]:
        """Return the tokenizer keys, special tokens excepted."""
        values: dict[str, TypedValue] = {
            Key.TOKENIZER_MODEL: string(self.model),
            **({Key.TOKENIZER_PRE: string(self.pre)} if self.pre else {}),
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


def no_row(text: str, index: int, rows: int) -> TokenizerError:
    """Return the error of a token that has no row in the embedding."""
    return TokenizerError(
        f"token {text[:40]!r} has id {index}, but the embedding has only {rows} rows",
        hint="the tokenizer belongs to another model, or the embedding was not resized for training",
    )


def added_token(entry: Mapping[str, Any]) -> tuple[str, TokenType]:
    """Return text and type of an entry of `added_tokens` or `added_tokens_decoder`."""
    text: str = entry["content"]
    if entry.get("special") or looks_special(text):
        return text, TokenType.CONTROL
    return text.replace(SPACE_MARK, " "), TokenType.USER_DEFINED


def added_tokens(content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Collect added tokens by id; tokenizer.json (`content`, checked) wins over tokenizer_config.json."""
    return {
        **configured_tokens(config),
        **{entry["id"]: entry for entry in content.get("added_tokens") or ()},
    }


def configured_tokens(config: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Return `added_tokens_decoder` of tokenizer_config.json by id. Raise TokenizerError when malformed."""
    entries = config.get("added_tokens_decoder") or {}
    if not isinstance(entries, Mapping):
        raise TokenizerError(
            "`added_tokens_decoder` of tokenizer_config.json is not an object", hint=COPY_AGAIN
        )
    tokens: dict[int, Mapping[str, Any]] = {}
    for key, entry in entries.items():
        if not _INTEGER.fullmatch(key) or not isinstance(entry, Mapping) or not is_text(entry.get("content")):
            raise TokenizerError(
                f"tokenizer_config.json has a malformed added token {key[:20]!r}", hint=COPY_AGAIN
            )
        tokens[int(key)] = entry
    return tokens


def token_text(entry: Any) -> str | None:
    """Return the text of a token as the configurations spell it: the text itself, or an object around it."""
    text = entry.get("content") if isinstance(entry, Mapping) else entry
    return text if isinstance(text, str) else None


def ends_of_text(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what tokenizer_config.json names as the beginning and the end of a text."""
    for kind in TEXT_ENDS:
        yield from _texts(config.get(f"{kind}_token"))


def named_specials(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what tokenizer_config.json names as special: transformers makes those special, added or not."""
    for key, entry in config.items():
        if key.endswith("_token"):
            yield from _texts(entry)
    for key in ("additional_special_tokens", "extra_special_tokens"):
        named = config.get(key)
        for entry in (
            named.values() if isinstance(named, Mapping) else named if isinstance(named, list) else ()
        ):
            yield from _texts(entry)


def is_text(value: Any) -> bool:
    """Tell whether `value` is a text that can be written as UTF-8: JSON can spell half a character."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(entry: Any) -> Iterator[str]:
    text = token_text(entry)
    if text is not None:
        yield text


def _filler(index: int) -> str:
    return f"[PAD{index}]"
