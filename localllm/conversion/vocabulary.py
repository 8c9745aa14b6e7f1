"""A model's vocabulary as GGUF stores it, built from the tokenizer files of a checkpoint.

Two kinds: SentencePiece (`tokenizer.model`) and byte-level BPE (`tokenizer.json`). The list always
has exactly as many tokens as the embedding has rows: missing ids become unused `[PADn]` tokens, a
token beyond the last row is an error. Texts are unique, because llama.cpp aborts otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.pretokenizers import recognise
from localllm.errors import TokenizerError
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array, string

_SPACE_MARK = "\u2581"
_ADDED_SCORE = -1000.0
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
    """Tokens by id, with what llama.cpp needs to use them; `merges` for BPE, `scores` for SentencePiece."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    ids: dict[str, int] = field(default_factory=dict)

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


def build_vocabulary(checkpoint: Checkpoint, rows: int, pre: str | None = None) -> Vocabulary:
    """Build the vocabulary for an embedding of `rows` rows.

    `pre` overrides the pre-tokenizer. Raise TokenizerError when there are no tokenizer files, a
    token has no row, or the pre-tokenizer is unknown.
    """
    if checkpoint.file("tokenizer.model"):
        vocabulary = _sentencepiece(checkpoint, rows)
    elif checkpoint.file("tokenizer.json"):
        vocabulary = _byte_level_bpe(checkpoint, rows, pre)
    else:
        raise TokenizerError(
            f"{checkpoint.directory} has neither tokenizer.json nor tokenizer.model",
            hint="copy the tokenizer files of the base model into the directory",
        )
    _require_unique(vocabulary)
    vocabulary.ids = {text: index for index, text in enumerate(vocabulary.tokens)}
    return vocabulary


def looks_special(text: str) -> bool:
    """Tell whether a token's text marks it as a control token (the reference converter's rule)."""
    return (
        text in _SPECIAL_LOOKING
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<\uff5c") and text.endswith("\uff5c>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )


def _sentencepiece(checkpoint: Checkpoint, rows: int) -> Vocabulary:
    from sentencepiece import SentencePieceProcessor

    path = checkpoint.directory / "tokenizer.model"
    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise TokenizerError(f"{path} is not a SentencePiece model: {error}") from None
    vocabulary = Vocabulary("llama", "default", *_unused(rows), scores=[_UNUSED_SCORE] * rows)
    for index in range(min(pieces.vocab_size(), rows)):
        _set(
            vocabulary, index, pieces.id_to_piece(index), _piece_type(pieces, index), pieces.get_score(index)
        )
    for text, index in (checkpoint.json("added_tokens.json") or {}).items():
        _set(vocabulary, _row(index, rows, text), text, TokenType.USER_DEFINED, _ADDED_SCORE)
    for key, entry in checkpoint.tokenizer_config.get("added_tokens_decoder", {}).items():
        text, kind = _added_token(entry)
        _set(vocabulary, _row(int(key), rows, text), text, kind, _ADDED_SCORE)
    return vocabulary


def _piece_type(pieces: Any, index: int) -> TokenType:
    if pieces.is_unknown(index):
        return TokenType.UNKNOWN
    if pieces.is_control(index):
        return TokenType.CONTROL
    if pieces.is_unused(index):
        return TokenType.UNUSED
    return TokenType.BYTE if pieces.is_byte(index) else TokenType.NORMAL


def _byte_level_bpe(checkpoint: Checkpoint, rows: int, pre: str | None) -> Vocabulary:
    content = checkpoint.json("tokenizer.json")
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or model.get("type", "BPE") != "BPE" or "vocab" not in model:
        raise TokenizerError(f"{checkpoint.directory / 'tokenizer.json'} does not hold a BPE tokenizer")
    if model.get("byte_fallback"):
        raise TokenizerError(
            "tokenizer.json holds a SentencePiece-style tokenizer",
            hint="copy tokenizer.model of the base model into the directory",
        )
    merges = [_merge(merge) for merge in model.get("merges", [])]
    if not merges:
        raise TokenizerError("tokenizer.json has no merges, which llama.cpp needs")
    vocabulary = Vocabulary("gpt2", pre or recognise(content), *_unused(rows), merges=merges)
    for text, index in model["vocab"].items():
        _set(vocabulary, _row(index, rows, text), text, TokenType.NORMAL)
    for index, entry in _added_tokens(content, checkpoint.tokenizer_config).items():
        text, kind = _added_token(entry)
        _set(vocabulary, _row(index, rows, text), text, kind)
    named = set(_named_specials(checkpoint.tokenizer_config))
    for index, text in enumerate(vocabulary.tokens):
        if text in named:
            vocabulary.types[index] = int(TokenType.CONTROL)
    return vocabulary


def _named_specials(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what tokenizer_config.json names as special: transformers makes those special, added or not."""
    entries = [config.get(f"{kind}_token") for kind in _SPECIAL_KINDS]
    for entry in (*entries, *(config.get("additional_special_tokens") or ())):
        text = entry.get("content") if isinstance(entry, Mapping) else entry
        if isinstance(text, str):
            yield text


def _added_tokens(content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Collect added tokens by id; tokenizer.json wins over tokenizer_config.json."""
    tokens = {int(key): entry for key, entry in config.get("added_tokens_decoder", {}).items()}
    tokens.update({int(entry["id"]): entry for entry in content.get("added_tokens", [])})
    return tokens


def _added_token(entry: Mapping[str, Any]) -> tuple[str, TokenType]:
    text = str(entry["content"])
    if entry.get("special") or looks_special(text):
        return text, TokenType.CONTROL
    return text.replace(_SPACE_MARK, " "), TokenType.USER_DEFINED


def _merge(merge: str | list[str]) -> str:
    """Join a merge pair with one space; a space inside a part is written as the byte-level alphabet does."""
    if isinstance(merge, str):
        return merge
    return " ".join(part.replace(" ", "\u0120") for part in merge)


def _unused(rows: int) -> tuple[list[str], list[int]]:
    return [f"[PAD{index}]" for index in range(rows)], [int(TokenType.UNUSED)] * rows


def _row(index: int, rows: int, text: str) -> int:
    if not 0 <= index < rows:
        raise TokenizerError(
            f"token {text!r} has id {index}, but the embedding has only {rows} rows",
            hint="the tokenizer belongs to another model, or the embedding was not resized before training",
        )
    return index


def _set(vocabulary: Vocabulary, index: int, text: str, kind: int, score: float | None = None) -> None:
    vocabulary.tokens[index] = text
    vocabulary.types[index] = int(kind)
    if vocabulary.scores is not None and score is not None:
        vocabulary.scores[index] = score


def _require_unique(vocabulary: Vocabulary) -> None:
    seen: set[str] = set()
    for index, text in enumerate(vocabulary.tokens):
        if text in seen:
            raise TokenizerError(f"token {text!r} appears twice in the vocabulary (again at id {index})")
        seen.add(text)
