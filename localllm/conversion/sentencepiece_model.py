"""A vocabulary out of a SentencePiece `tokenizer.model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.tokenizer_files import added_tokens_json, sound_added_tokens
from localllm.conversion.tokens import TokenType, Vocabulary, added_token, configured_tokens
from localllm.errors import TokenizerError

_SPACE_MARK = "\u2581"
_ADDED_SCORE = -1000.0


def open_sentencepiece(checkpoint: Checkpoint) -> Any:
    """Return the SentencePieceProcessor of tokenizer.model. Raise TokenizerError when it is damaged."""
    from sentencepiece import SentencePieceProcessor

    path = checkpoint.file("tokenizer.model") or checkpoint.directory / "tokenizer.model"
    try:
        return SentencePieceProcessor(model_proto=path.read_bytes())
    except (RuntimeError, OSError) as error:
        raise TokenizerError(f"{path} is not a SentencePiece model: {error}") from None


def sentencepiece_vocabulary(checkpoint: Checkpoint, pieces: Any, rows: int) -> Vocabulary:
    """Build the vocabulary of `pieces` and the checkpoint's added tokens for an embedding of `rows` rows."""
    vocabulary = Vocabulary.unused("tokenizer.model", "llama", "default", rows, scored=True)
    if not _adds_space(pieces):
        vocabulary.adds_space = False
    for index in range(min(pieces.vocab_size(), rows)):
        vocabulary.set(index, pieces.id_to_piece(index), _type(pieces, index), pieces.get_score(index))
    content = checkpoint.json("tokenizer.json")
    if isinstance(content, Mapping):  # some added tokens may be named there alone
        vocabulary.post_processor = content.get("post_processor")
        for entry in sound_added_tokens(content):
            if entry["id"] >= pieces.vocab_size():
                text, kind = added_token(entry)
                vocabulary.add(entry["id"], text, kind, _ADDED_SCORE)
    for text, index in added_tokens_json(checkpoint).items():
        vocabulary.add(index, text, TokenType.USER_DEFINED, _ADDED_SCORE)
    for index, entry in configured_tokens(checkpoint.tokenizer_config).items():
        text, kind = added_token(entry)
        vocabulary.add(index, text, kind, _ADDED_SCORE)
    return vocabulary


def _adds_space(pieces: Any) -> bool:
    """Tell whether a space is put in front of a text; the processor does not say, its pieces do."""
    first = next(iter(pieces.encode("a", out_type=str)), _SPACE_MARK)
    return bool(first.startswith(_SPACE_MARK))


def _type(pieces: Any, index: int) -> TokenType:
    if pieces.is_unknown(index):
        return TokenType.UNKNOWN
    if pieces.is_control(index):
        return TokenType.CONTROL
    if pieces.is_unused(index):
        return TokenType.UNUSED
    return TokenType.BYTE if pieces.is_byte(index) else TokenType.NORMAL
