"""A tiny byte-level BPE tokenizer.json: the 256 bytes, two special tokens, a few words, one added token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BOS, EOS = 256, 257
SPECIALS = ("<|endoftext|>", "<|im_end|>")
ADDED = "<tool>"
_WORDS = ("the", "and", "ing", "Hello", " world", "\n\n")
_DIGITS = {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}


def tiny_tokenizer(
    pre: str = "qwen2", *, adds_bos: bool = False, special: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the content of a tokenizer.json with the pre-tokenizer `pre` (llama.cpp's name)."""
    vocabulary, merges = _vocabulary()
    added = [_added_token(BOS + index, text, special=True) for index, text in enumerate(SPECIALS)]
    added.append(_added_token(len(vocabulary), ADDED, special=False))
    behind = len(vocabulary) + 1
    added += [_added_token(behind + index, text, special=True) for index, text in enumerate(special)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer(pre),
        "post_processor": _bos_template() if adds_bos else None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def pre_tokenizer(pre: str) -> dict[str, Any]:
    """Return the `pre_tokenizer` entry as Llama 3 and Qwen 2 publish it."""
    regex = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + _DIGITS[pre]
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, level]}


def byte_alphabet() -> list[str]:
    """Return the printable character that stands for each byte in byte-level BPE (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + moved.index(byte)) for byte in range(256)]


def _vocabulary() -> tuple[dict[str, int], list[list[str]]]:
    """Return the vocabulary and the merges that build each word from left to right."""
    alphabet = byte_alphabet()
    vocabulary = {text: index for index, text in enumerate((*alphabet, *SPECIALS))}
    merges: list[list[str]] = []
    for word in _WORDS:
        letters = [alphabet[byte] for byte in word.encode()]
        for end in range(1, len(letters)):
            pair = ["".join(letters[:end]), letters[end]]
            if "".join(pair) not in vocabulary:
                merges.append(pair)
                vocabulary["".join(pair)] = len(vocabulary)
    return vocabulary, merges


def _added_token(index: int, text: str, *, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": text, **flags, "special": special}


def _bos_template() -> dict[str, Any]:
    bos = {"SpecialToken": {"id": SPECIALS[0], "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [bos, first, bos, second],
        "special_tokens": {SPECIALS[0]: {"id": SPECIALS[0], "ids": [BOS], "tokens": [SPECIALS[0]]}},
    }
