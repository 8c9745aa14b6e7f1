"""A byte-level BPE vocabulary, and what of such a tokenizer llama.cpp cannot express.

llama.cpp takes the text as it comes, splits it, writes the bytes of every piece in GPT-2's alphabet and
merges. Of all normalizers NFC alone is let through: text is nearly always in that form already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localllm.conversion.tokenizer_files import nested_steps
from localllm.conversion.tokens import Vocabulary
from localllm.errors import TokenizerError

_SPACE = "\u0120"  # a space in GPT-2's alphabet


def byte_level_vocabulary(content: Mapping[str, Any], source: str, pre: str, rows: int) -> Vocabulary:
    """Build the vocabulary of a byte-level tokenizer without its added tokens."""
    vocabulary = Vocabulary.normal(source, "gpt2", pre, rows, own_tokens(content, rows))
    vocabulary.merges = written_merges(content["model"]["merges"])
    return vocabulary


def own_tokens(content: Mapping[str, Any], rows: int) -> Mapping[str, int]:
    """Return the tokens of the model, without added ones that have no row in an embedding of `rows` rows."""
    tokens: Mapping[str, int] = content["model"]["vocab"]
    if max(tokens.values(), default=0) < rows:
        return tokens
    added = {entry["content"] for entry in content.get("added_tokens") or ()}
    return {text: index for text, index in tokens.items() if index < rows or text not in added}


def require_expressible(content: Mapping[str, Any], source: str) -> None:
    """Raise TokenizerError when the tokenizer does something that no vocabulary can tell llama.cpp."""
    for what in _inexpressible(content):
        raise TokenizerError(
            f"{source} {what}, which llama.cpp cannot do",
            hint="the model would read other tokens than it was trained on; it cannot be converted",
        )


def _inexpressible(content: Mapping[str, Any]) -> Iterator[str]:
    for step in nested_steps(content.get("normalizer"), "normalizers"):
        if step.get("type") != "NFC":
            yield f"normalizes text with {str(step.get('type'))[:40]}"
    for step in nested_steps(content.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "ByteLevel" and step.get("add_prefix_space"):
            yield "puts a space in front of every text (add_prefix_space)"


def written_merges(merges: list[str | list[str]]) -> list[str]:
    """Write a space inside a token as the byte-level alphabet does, so that one stands between two tokens."""
    return [
        merge if isinstance(merge, str) else " ".join(part.replace(" ", _SPACE) for part in merge)
        for merge in merges
    ]
