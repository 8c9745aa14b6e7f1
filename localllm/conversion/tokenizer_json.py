"""A vocabulary out of a `tokenizer.json`: byte-level BPE, or BPE in the manner of SentencePiece.

The second kind falls back to byte tokens and marks spaces. llama.cpp runs it by scores: of all pairs that
make a token it merges the one with the highest score. tokenizer.json ranks pairs instead, so a token gets
the rank of the first pair that makes it, negated. Tokenizers that were made from a SentencePiece model
hold the pairs in the order of its scores, and come out exactly so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.pretokenizers import recognise
from localllm.conversion.tokens import TokenType, Vocabulary, added_token, added_tokens, named_specials
from localllm.errors import TokenizerError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_ADDED_SCORE = -1000.0
_NEVER_MERGED = -1e9  # SentencePiece's own score for what no pair makes


def json_vocabulary(checkpoint: Checkpoint, rows: int, pre: str | None) -> Vocabulary:
    """Build the vocabulary of tokenizer.json; `pre` overrides the pre-tokenizer of a byte-level one."""
    content = checkpoint.json("tokenizer.json")
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or model.get("type", "BPE") != "BPE" or "vocab" not in model:
        raise TokenizerError(f"{checkpoint.directory / 'tokenizer.json'} does not hold a BPE tokenizer")
    merges = model.get("merges", [])
    if not merges:
        raise TokenizerError("tokenizer.json has no merges, which llama.cpp needs")
    if model.get("byte_fallback"):
        vocabulary = _ranked(content, model, merges, rows)
    else:
        vocabulary = Vocabulary.unused("tokenizer.json", "gpt2", pre or recognise(content), rows)
        vocabulary.merges = [_merge(merge) for merge in merges]
        for text, index in model["vocab"].items():
            vocabulary.set(index, text, TokenType.NORMAL)
    for index, entry in added_tokens(content, checkpoint.tokenizer_config).items():
        text, kind = added_token(entry)
        is_unknown = text == model.get("unk_token") and vocabulary.scores is not None
        vocabulary.set(index, text, TokenType.UNKNOWN if is_unknown else kind, _ADDED_SCORE)
    _mark_named_specials(vocabulary, checkpoint)
    return vocabulary


def scores_of_merges(tokens: Sequence[str], merges: Sequence[str | list[str]]) -> dict[str, float]:
    """Return a score for every token: its rank among the merges, negated; characters and bytes get 0."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault("".join(_pair(pair)), rank)
    return {
        text: -float(ranks[text])
        if text in ranks
        else 0.0
        if len(text) == 1 or _BYTE.fullmatch(text)
        else _NEVER_MERGED
        for text in tokens
    }


def adds_space(content: Mapping[str, Any]) -> bool:
    """Tell whether a SentencePiece-style tokenizer.json puts a space in front of every text."""
    for step in _steps(content.get("normalizer"), "normalizers"):
        if step.get("type") == "Prepend":
            return True
    for step in _steps(content.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            return bool(scheme != "never")
    return False


def _ranked(
    content: Mapping[str, Any], model: Mapping[str, Any], merges: Sequence[str | list[str]], rows: int
) -> Vocabulary:
    vocabulary = Vocabulary.unused("tokenizer.json", "llama", "default", rows, scored=True)
    vocabulary.adds_space = adds_space(content)
    scores = scores_of_merges(list(model["vocab"]), merges)
    for text, index in model["vocab"].items():
        kind = TokenType.BYTE if _BYTE.fullmatch(text) else TokenType.NORMAL
        if text == model.get("unk_token"):
            kind = TokenType.UNKNOWN
        vocabulary.set(index, text, kind, scores[text])
    return vocabulary


def _mark_named_specials(vocabulary: Vocabulary, checkpoint: Checkpoint) -> None:
    named = set(named_specials(checkpoint.tokenizer_config))
    for index, text in enumerate(vocabulary.tokens):
        if text in named and vocabulary.types[index] != TokenType.UNKNOWN:
            vocabulary.types[index] = int(TokenType.CONTROL)


def _merge(merge: str | list[str]) -> str:
    """Join a merge pair with one space; a space inside a part is written as the byte-level alphabet does."""
    if isinstance(merge, str):
        return merge
    return " ".join(part.replace(" ", "\u0120") for part in merge)


def _pair(merge: str | list[str]) -> Sequence[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _steps(entry: Any, sequence: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(entry, Mapping):
        if entry.get("type") == "Sequence":
            for step in entry.get(sequence, []):
                yield from _steps(step, sequence)
        else:
            yield entry
