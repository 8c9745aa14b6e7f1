"""A vocabulary out of a `tokenizer.json`: byte-level BPE, or BPE in the manner of SentencePiece.

The second kind falls back to byte tokens and marks spaces. llama.cpp runs it by scores: of all pairs that
make a token it merges the one with the highest score. tokenizer.json ranks pairs instead, so a token gets
the rank of the first pair that makes it, negated. Tokenizers that were made from a SentencePiece model
hold the pairs in the order of its scores, and come out exactly so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.byte_level import byte_level_vocabulary, own_tokens, require_expressible
from localllm.conversion.candidates import unknown_pretokenizer
from localllm.conversion.character_pairs import paired_vocabulary
from localllm.conversion.pretokenizers import recognise
from localllm.conversion.tokenizer_files import nested_steps, read_tokenizer
from localllm.conversion.tokens import TokenType, Vocabulary, added_token, added_tokens, named_specials
from localllm.events import Emit, ignore

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_ADDED_SCORE = -1000.0
_NEVER_MERGED = -1e9  # SentencePiece's own score for what no pair makes


def json_vocabulary(
    checkpoint: Checkpoint,
    source: str,
    rows: int,
    pre: str | None,
    emit: Emit = ignore,
    by_pairs: str | None = None,
) -> Vocabulary:
    """Build the vocabulary of `source`; `pre` overrides the pre-tokenizer of a byte-level one.

    `by_pairs` is llama.cpp's kind of vocabulary for one that falls back to bytes and is run by its pairs.
    """
    content = read_tokenizer(checkpoint, source)
    model = content["model"]
    if model.get("byte_fallback") and by_pairs is not None:
        return paired_vocabulary(checkpoint, content, source, by_pairs, rows)
    if model.get("byte_fallback"):
        vocabulary = _ranked(content, source, rows)
    else:
        require_expressible(content, source)
        name = pre or recognise(content)
        if name is None:
            raise unknown_pretokenizer(content, source, emit)
        vocabulary = byte_level_vocabulary(content, source, name, rows)
    vocabulary.post_processor = content.get("post_processor")
    for index, entry in added_tokens(content, checkpoint.tokenizer_config).items():
        text, kind = added_token(entry)
        is_unknown = text == model.get("unk_token") and vocabulary.scores is not None
        vocabulary.add(index, text, TokenType.UNKNOWN if is_unknown else kind, _ADDED_SCORE)
    _mark_named_specials(vocabulary, checkpoint)
    return vocabulary


def scores_of_merges(tokens: Sequence[str], merges: Sequence[str | list[str]]) -> dict[str, float]:
    """Return a score for every token: its rank among the merges, negated; characters and bytes get 0."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault(pair.replace(" ", "") if isinstance(pair, str) else "".join(pair), rank)
    return {
        text: -float(ranks[text])
        if text in ranks
        else 0.0
        if len(text) == 1 or _BYTE.fullmatch(text)
        else _NEVER_MERGED
        for text in tokens
    }


def unreachable_tokens(content: Mapping[str, Any]) -> set[int]:
    """Return the ids of tokens of a SentencePiece-style tokenizer that no pair makes.

    llama.cpp makes them of any pair that spells them, as SentencePiece does; a few conversions of
    SentencePiece models lost such a pair.
    """
    model = content["model"]
    if not model.get("byte_fallback"):
        return set()
    scores = scores_of_merges(list(model["vocab"]), model["merges"])
    return {index for text, index in model["vocab"].items() if scores[text] == _NEVER_MERGED}


def adds_space(content: Mapping[str, Any]) -> bool:
    """Tell whether a SentencePiece-style tokenizer.json puts a space in front of every text."""
    for step in nested_steps(content.get("normalizer"), "normalizers"):
        if step.get("type") == "Prepend":
            return True
    for step in nested_steps(content.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            return bool(scheme != "never")
    return False


def _ranked(content: Mapping[str, Any], source: str, rows: int) -> Vocabulary:
    model = content["model"]
    vocabulary = Vocabulary.unused(source, "llama", "default", rows, scored=True)
    vocabulary.adds_space = adds_space(content)
    scores = scores_of_merges(list(model["vocab"]), model["merges"])
    for text, index in own_tokens(content, rows).items():
        kind = TokenType.BYTE if _BYTE.fullmatch(text) else TokenType.NORMAL
        if text == model.get("unk_token"):
            kind = TokenType.UNKNOWN
        vocabulary.set(index, text, kind, scores[text])
    return vocabulary


def _mark_named_specials(vocabulary: Vocabulary, checkpoint: Checkpoint) -> None:
    named = set(named_specials(checkpoint.tokenizer_config))
    for index in [index for index, text in enumerate(vocabulary.tokens) if text in named]:
        if vocabulary.types[index] != TokenType.UNKNOWN:
            vocabulary.types[index] = int(TokenType.CONTROL)
