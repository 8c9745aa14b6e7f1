"""A tiny tokenizer.json that merges pairs of characters and falls back to bytes, as Gemma 4's does."""

from __future__ import annotations

import string
from typing import Any

ROWS = 384  # tokens, all of them named
EOS, BOS, TURN_END = 1, 2, 14
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|turn>{{ message.role }}\n{{ message.content }}<turn|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)
_SPACE = "\u2581"
_SPECIALS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
_VISIBLE = (
    *("<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'),
    *("<|channel>", "<channel|>"),
)
_TURNS = ("<|think|>", "<|turn>", "<turn|>", "<|image|>")
_WORDS = ("\n\n", f"{_SPACE}the", f"{_SPACE}and", "ing", "Hello", f"{_SPACE}world", f"{_SPACE}{_SPACE}")


def tiny_pairs() -> dict[str, Any]:
    """Return the content of a tokenizer.json."""
    vocabulary, merges = _vocabulary()
    bos = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB"))
    decoders = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(text, vocabulary) for text in (*_SPECIALS, *_VISIBLE, *_TURNS)],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, first],
            "pair": [bos, first, bos, second],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def tiny_settings() -> dict[str, Any]:
    """Return the content of tokenizer_config.json, which names tokens of the model's own."""
    named = {f"{text.strip('<>')}_token": text for text in _SPECIALS}
    own = {"sot_token": "<|turn>", "eot_token": "<turn|>", "think_token": "<|think|>"}
    own |= {"soc_token": "<|channel>", "stc_token": "<|tool_call>"}
    return {
        "tokenizer_class": "GemmaTokenizer",
        **named,
        **own,
        "extra_special_tokens": ["<|image|>"],
        "padding_side": "left",
    }


def _vocabulary() -> tuple[dict[str, int], list[list[str]]]:
    """Return the vocabulary and the merges that build each word from left to right."""
    letters = (*string.ascii_letters, *string.digits, *".,!?-'", _SPACE, "\n", "é", "世")
    texts = [
        *_SPECIALS,
        *_VISIBLE,
        *_TURNS,
        "<unused0>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *letters,
    ]
    vocabulary = {text: index for index, text in enumerate(texts)}
    merges: list[list[str]] = []
    for word in _WORDS:
        for end in range(1, len(word)):
            pair = [word[:end], word[end]]
            if word[: end + 1] not in vocabulary:
                merges.append(pair)
                vocabulary[word[: end + 1]] = len(vocabulary)
    for number in range(ROWS - len(vocabulary)):
        vocabulary[f"<unused{number + 1}>"] = len(vocabulary)
    return vocabulary, merges


def _added(text: str, vocabulary: dict[str, int]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": vocabulary[text], "content": text, **flags, "special": text not in _VISIBLE}
