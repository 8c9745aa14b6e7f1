"""Recognises a byte-level BPE pre-tokenizer by its structure in tokenizer.json.

llama.cpp splits text with rules of its own, chosen by `tokenizer.ggml.pre`; the wrong name costs
quality without an error. The reference converter hashes the tokens of a sample text, which any
added token changes; here the regular expressions and steps of the tokenizer themselves are
compared, so fine-tunes with added tokens are recognised. After a conversion the result is checked
by tokenizing (see `verify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.errors import TokenizerError

Signature = tuple[tuple[str, str], ...]

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# the steps of `pre_tokenizer`, as (type, argument)
PRETOKENIZERS: dict[Signature, str] = {
    (("Split", _LLAMA3), ("ByteLevel", "plain")): "llama-bpe",
    (("Split", _QWEN2), ("ByteLevel", "plain")): "qwen2",
    (("Split", _TEKKEN), ("ByteLevel", "plain")): "tekken",
    (("Split", _QWEN35), ("ByteLevel", "plain")): "qwen35",
    (("Split", _GPT4O), ("ByteLevel", "plain")): "gpt-4o",
    (("ByteLevel", "regex"),): "gpt-2",
    (("Digits", "individual"), ("ByteLevel", "regex")): "smollm",
}


def recognise(tokenizer: Mapping[str, Any]) -> str:
    """Return llama.cpp's name for the pre-tokenizer of a parsed tokenizer.json.

    Raise TokenizerError when it is none of the known ones.
    """
    found = signature(tokenizer.get("pre_tokenizer"))
    name = PRETOKENIZERS.get(found)
    if name is None:
        steps = ", ".join(kind for kind, _ in found) or "none"
        raise TokenizerError(
            f"the pre-tokenizer of tokenizer.json is not known (steps: {steps})",
            hint="if you know which of llama.cpp's it is, name it with `--pre NAME` (for example qwen2)",
        )
    # the names differ in one thing: llama-bpe takes a word that is in the vocabulary without merging
    if name == "llama-bpe" and not tokenizer.get("model", {}).get("ignore_merges"):
        return "dbrx"
    return name


def signature(pre_tokenizer: Any) -> Signature:
    """Reduce a `pre_tokenizer` entry to the steps that decide how text is split."""
    if not isinstance(pre_tokenizer, Mapping):
        return ()
    if pre_tokenizer.get("type") == "Sequence":
        steps = pre_tokenizer.get("pretokenizers", [])
        return tuple(step for item in steps for step in signature(item))
    return (_step(pre_tokenizer),)


def _step(step: Mapping[str, Any]) -> tuple[str, str]:
    kind = str(step.get("type"))
    if kind == "Split":
        pattern = step.get("pattern", {})
        return kind, str(pattern.get("Regex", pattern.get("String")))
    if kind == "ByteLevel":
        return kind, "regex" if step.get("use_regex", True) else "plain"
    if kind == "Digits":
        return kind, "individual" if step.get("individual_digits") else "runs"
    return kind, ""
