"""Recognises a byte-level BPE pre-tokenizer by its structure in tokenizer.json.

llama.cpp splits text with rules of its own, chosen by `tokenizer.ggml.pre`; the wrong name costs
quality without an error. The reference converter hashes the tokens of a sample text, which any
added token changes; here the regular expressions and steps of the tokenizer themselves are
compared, so fine-tunes with added tokens are recognised. After a conversion the result is checked
by tokenizing (see `verify`).

Several names of llama.cpp split text alike. A structure gets the best known of them: StableLM 2 is
`qwen2` here, Granite and StarCoder `smollm`, GPT-NeoX and OLMo `gpt-2`, Llama 4 `gpt-4o`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# letters that have cases, as the tokenizer lists them, and punctuation
_DEEPSEEK_LETTERS = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-"
    "ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-"
    "ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
)
_DEEPSEEK_PUNCTUATION = r"\s?[!-/:-~！-／：-～‘-‟　-。]+"

_BYTE_LEVEL: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
# how GPT2Tokenizer and Qwen2Tokenizer split text, as tokenizer.json spells it
GPT2_STEPS: dict[str, Any] = _BYTE_LEVEL | {"use_regex": True}
QWEN2_STEPS: dict[str, Any] = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": _QWEN2}, "behavior": "Isolated", "invert": False},
        _BYTE_LEVEL | {"use_regex": False},
    ],
}

# the steps of `pre_tokenizer`, as (type, argument); the last is always ("ByteLevel", "")
_SPLITS: dict[tuple[str, ...], str] = {
    (_LLAMA3,): "llama-bpe",
    (_QWEN2,): "qwen2",
    (_TEKKEN,): "tekken",
    (_QWEN35,): "qwen35",
    (_GPT4O,): "gpt-4o",
    (_GPT2,): "gpt-2",
    (r"\p{N}", _GPT2): "smollm",
    (r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK3): "deepseek-v3",
    (
        *(r"[\r\n]", _DEEPSEEK_LETTERS, _DEEPSEEK_PUNCTUATION, r"\s+$", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    ): "deepseek-llm",
    (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"): "deepseek-coder",
    (" ?[^(\\s|[.,!?…。，、।۔،])]+",): "bloom",
}
PRETOKENIZERS: dict[Signature, str] = {
    (*(("Split", regex) for regex in splits), ("ByteLevel", "")): name for splits, name in _SPLITS.items()
}

_LINE_ENDS = str.maketrans({"\r": r"\r", "\n": r"\n", "\t": r"\t"})  # a class may hold them spelled or bare
_MAX_DEPTH = 16


def recognise(tokenizer: Mapping[str, Any]) -> str | None:
    """Return llama.cpp's name for the pre-tokenizer of a parsed tokenizer.json, None when it is unknown."""
    name = PRETOKENIZERS.get(signature(tokenizer.get("pre_tokenizer")))
    model = tokenizer.get("model")
    # the names differ in one thing: llama-bpe takes a word that is in the vocabulary without merging
    if name == "llama-bpe" and not (isinstance(model, Mapping) and model.get("ignore_merges")):
        return "dbrx"
    return name


def describe_steps(tokenizer: Mapping[str, Any]) -> str:
    """Name the steps of the pre-tokenizer of a parsed tokenizer.json."""
    return ", ".join(kind for kind, _ in _steps(tokenizer.get("pre_tokenizer"))) or "none"


def signature(pre_tokenizer: Any) -> Signature:
    """Reduce a `pre_tokenizer` entry to the steps that decide how text is split, spelled in one way."""
    return tuple(part for step in _steps(pre_tokenizer) for part in _canonical(*step))


def _canonical(kind: str, argument: str) -> Signature:
    """Spell as a Split what other steps do with a regular expression of their own."""
    if (kind, argument) == ("ByteLevel", "regex"):
        return ("Split", _GPT2), ("ByteLevel", "")
    if kind == "Digits":
        return (("Split", argument),)
    return ((kind, argument),)


def _steps(pre_tokenizer: Any, depth: int = 0) -> Signature:
    if not isinstance(pre_tokenizer, Mapping) or depth > _MAX_DEPTH:
        return ()
    if pre_tokenizer.get("type") == "Sequence":
        steps = pre_tokenizer.get("pretokenizers")
        items = steps if isinstance(steps, list) else []
        return tuple(step for item in items for step in _steps(item, depth + 1))
    return (_step(pre_tokenizer),)


def _step(step: Mapping[str, Any]) -> tuple[str, str]:
    kind = str(step.get("type"))[:40]
    if kind == "Split":
        return kind, _split(step)
    if kind == "ByteLevel":
        prefix = " with a space in front" if step.get("add_prefix_space") else ""
        return kind, ("regex" if step.get("use_regex", True) else "") + prefix
    if kind == "Digits":
        return kind, r"\p{N}" if step.get("individual_digits") else r"\p{N}+"
    return kind, ""


def _split(step: Mapping[str, Any]) -> str:
    """Return the expression of a Split; how it cuts is added where it does not just keep all pieces."""
    pattern = step.get("pattern")
    pattern = pattern if isinstance(pattern, Mapping) else {}
    expression = str(pattern.get("Regex", pattern.get("String", ""))).translate(_LINE_ENDS)
    how = str(step.get("behavior")), bool(step.get("invert"))
    kept = how[0] == "Isolated" or how == ("Removed", True)
    literal = " (literal)" if "Regex" not in pattern else ""
    return expression + literal + ("" if kept else f" {how}")
