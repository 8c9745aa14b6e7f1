"""The BPE tokenizer of a checkpoint as the content of a tokenizer.json, read and checked.

A checkpoint of the days before tokenizer.json has vocab.json and merges.txt instead. What surrounds those two
is then part of the tokenizer's class; it is known here for the classes that llama.cpp can follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.pretokenizers import GPT2_STEPS, QWEN2_STEPS
from localllm.conversion.tokens import (
    COPY_AGAIN,
    SPECIAL_KINDS,
    configured_tokens,
    is_text,
    looks_special,
    token_text,
)
from localllm.errors import TokenizerError

TOKENIZER_JSON, VOCAB_JSON = "tokenizer.json", "vocab.json"
_MAX_DEPTH = 16
_GPT2 = {"normalizer": None, "pre_tokenizer": GPT2_STEPS}
_QWEN2 = {"normalizer": {"type": "NFC"}, "pre_tokenizer": QWEN2_STEPS}
_CLASSES: dict[str, dict[str, Any]] = {"GPT2Tokenizer": _GPT2, "Qwen2Tokenizer": _QWEN2}
_CLASS_OF_MODEL = {"gpt2": "GPT2Tokenizer"} | dict.fromkeys(
    ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer"
)


def tokenizer_source(checkpoint: Checkpoint) -> str | None:
    """Return which file holds a BPE tokenizer, "tokenizer.json" or "vocab.json", or None."""
    if checkpoint.file(TOKENIZER_JSON):
        return TOKENIZER_JSON
    return VOCAB_JSON if checkpoint.file(VOCAB_JSON) else None


def read_tokenizer(checkpoint: Checkpoint, source: str) -> Mapping[str, Any]:
    """Return the tokenizer of `source` as tokenizer.json would hold it.

    Texts, ids, merges and added tokens have been checked; what is around them has not. Merges are texts, both
    tokens with a space between them; pairs where one of them has a space itself. Raise TokenizerError.
    """
    is_json = source == TOKENIZER_JSON
    content: Any = checkpoint.json(TOKENIZER_JSON) if is_json else _from_vocab_json(checkpoint)
    model = _checked_model(content, source)
    return {**content, "model": {**model, "merges": _checked_merges(model, source)}}


def nested_steps(entry: Any, sequence: str, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a normalizer or pre-tokenizer whose sequences list them under the key `sequence`."""
    if not isinstance(entry, Mapping) or depth > _MAX_DEPTH:
        return
    if entry.get("type") != "Sequence":
        yield entry
        return
    steps = entry.get(sequence)
    for step in steps if isinstance(steps, list) else ():
        yield from nested_steps(step, sequence, depth + 1)


def _checked_model(content: Any, source: str) -> Mapping[str, Any]:
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or (model.get("type") or "BPE") != "BPE" or "vocab" not in model:
        raise TokenizerError(
            f"{source} does not hold a BPE tokenizer", hint="only BPE tokenizers can be converted"
        )
    problem = _vocabulary_problem(model["vocab"]) or _added_problem(content.get("added_tokens"))
    if problem:
        raise TokenizerError(f"{source} is damaged: {problem}", hint=COPY_AGAIN)
    return model


def _checked_merges(model: Mapping[str, Any], source: str) -> list[Any]:
    merges = model.get("merges")
    if not merges:
        raise TokenizerError(f"{source} has no merges, which llama.cpp needs", hint=COPY_AGAIN)
    joined = _joined(merges) if isinstance(merges, list) else None
    if joined is None:
        raise TokenizerError(f"{source} is damaged: a merge is not a pair of tokens", hint=COPY_AGAIN)
    _check_merging(model, source)
    return joined


def _check_merging(model: Mapping[str, Any], source: str) -> None:
    """Refuse ways of merging that llama.cpp does not have."""
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise TokenizerError(
                f"{source} marks parts of words ({key} {str(model[key])[:20]!r}), which llama.cpp cannot do",
                hint="such a tokenizer cannot be converted",
            )
    if model.get("dropout"):
        raise TokenizerError(
            f"{source} merges at random (dropout {str(model['dropout'])[:20]})",
            hint="set `dropout` to null in it and convert again",
        )


def _vocabulary_problem(vocabulary: Any) -> str | None:
    if not isinstance(vocabulary, Mapping):
        return "its vocabulary is not an object"
    ids = list(vocabulary.values())
    if set(map(type, ids)) - {int}:
        return "an id is not an integer"
    if len(set(ids)) < len(ids):
        return "two tokens have the same id"
    return None if is_text("".join(vocabulary)) else "a token is not valid Unicode"


def _added_problem(added: Any) -> str | None:
    if added is None:
        return None
    if not isinstance(added, list):
        return "its added tokens are not a list"
    for entry in added:
        if (
            not isinstance(entry, Mapping)
            or type(entry.get("id")) is not int
            or not is_text(entry.get("content"))
        ):
            return f"a malformed added token ({str(entry)[:40]})"
    return None


def _joined(merges: list[Any]) -> list[Any] | None:
    """Return merges as texts, or as they are where a token has a space; None when one is not a pair of texts.

    There are hundreds of thousands, so nothing is called for each that need not be.
    """
    kinds = set(map(type, merges))
    if kinds == {list}:
        pairs, texts = merges, []
    else:
        pairs = [merge for merge in merges if type(merge) is list]
        texts = [merge for merge in merges if type(merge) is str]
    if len(pairs) + len(texts) < len(merges) or set(map(len, pairs)) - {2}:
        return None
    if set(map(str.count, texts, repeat(" "))) - {1}:
        return None
    try:
        joined = [" ".join(pair) for pair in pairs]
    except TypeError:  # not texts
        return None
    everything = "".join([*joined, *texts])
    if not is_text(everything):
        return None
    if everything.count(" ") > len(merges):
        return merges
    return joined if not texts else [x if type(x) is str else " ".join(x) for x in merges]


def _from_vocab_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Put vocab.json, merges.txt and what the tokenizer's class adds together."""
    merges = checkpoint.text("merges.txt")
    if merges is None:
        raise TokenizerError(
            f"{checkpoint.directory} has vocab.json, but neither tokenizer.json nor merges.txt",
            hint=COPY_AGAIN,
        )
    surroundings = _surroundings(checkpoint)
    vocabulary = checkpoint.json(VOCAB_JSON)
    if not isinstance(vocabulary, Mapping):
        raise TokenizerError("vocab.json is damaged: it is not an object", hint=COPY_AGAIN)
    return {
        "added_tokens": list(_added_tokens(checkpoint, vocabulary)),
        **surroundings,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": _read_merges(merges)},
    }


def _surroundings(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.tokenizer_config
    name = config.get("tokenizer_class") or checkpoint.config.get("tokenizer_class")
    name = name or _CLASS_OF_MODEL.get(str(checkpoint.config.get("model_type")))
    known = _CLASSES.get(str(name).removesuffix("Fast"))
    if known is None:
        raise TokenizerError(
            f"vocab.json with the tokenizer class {str(name)[:40]!r} needs a tokenizer.json to be converted",
            hint="load the tokenizer with transformers and save it again; that writes tokenizer.json",
        )
    if config.get("add_prefix_space"):
        return {**known, "pre_tokenizer": {**GPT2_STEPS, "add_prefix_space": True}}
    return known


def _read_merges(text: str) -> list[str]:
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [
        line for index, line in enumerate(lines) if line and not (index == 0 and line.startswith("#version"))
    ]


def _added_tokens(checkpoint: Checkpoint, vocabulary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the added tokens of the side files, and the special tokens among the others."""
    added: dict[str, dict[str, Any]] = {
        text: {"id": index} for text, index in added_tokens_json(checkpoint).items()
    }
    for index, entry in configured_tokens(checkpoint.tokenizer_config).items():
        added[entry["content"]] = {**entry, "id": index}
    for text in ("<|endoftext|>", *_special_texts(checkpoint)):
        if text in added or text in vocabulary:
            added[text] = {"id": vocabulary.get(text), **added.get(text, {}), "special": True}
    for text, entry in sorted(added.items(), key=lambda item: str(item[1]["id"]).zfill(12)):
        flags = {key: bool(entry.get(key)) for key in ("single_word", "lstrip", "rstrip", "normalized")}
        special = bool(entry.get("special")) or looks_special(text)
        yield {"id": entry["id"], "content": text, **flags, "special": special}


def added_tokens_json(checkpoint: Checkpoint) -> dict[str, int]:
    """Return added_tokens.json, text to id. Raise TokenizerError when it is malformed."""
    tokens = checkpoint.json("added_tokens.json")
    if tokens is None:
        return {}
    if not isinstance(tokens, dict) or not all(
        type(i) is int and is_text(text) for text, i in tokens.items()
    ):
        raise TokenizerError("added_tokens.json is damaged: it does not map texts to ids", hint=COPY_AGAIN)
    return tokens


def sound_added_tokens(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the added tokens of a tokenizer.json of any kind; none when they are damaged."""
    added = content.get("added_tokens")
    return added if added and not _added_problem(added) else []


def _special_texts(checkpoint: Checkpoint) -> Iterator[str]:
    named = checkpoint.json("special_tokens_map.json")
    for config in (named if isinstance(named, Mapping) else {}, checkpoint.tokenizer_config):
        for kind in SPECIAL_KINDS:
            text = token_text(config.get(f"{kind}_token"))
            if text is not None and is_text(text):
                yield text
