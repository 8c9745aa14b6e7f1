"""The tokenizer of a model: its size and kind, and the tokens with a role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.gguf_file.text_array import contained, texts_at

_ID_SUFFIX = "_token_id"
_PREFIX = "tokenizer.ggml."
_NAMES = {"unknown": "unk", "padding": "pad", "seperator": "sep"}  # GGUF spells it with an e
_FIRST = ("bos", "eos", "eot", "eom", "unk", "pad", "sep", "mask", "cls")
# what llama.cpp takes when a file names none (llama-vocab.cpp)
_DEFAULTS: dict[str, dict[str, int]] = {
    "llama": {"bos": 1, "eos": 2, "unk": 0},
    "gpt2": {"bos": 11, "eos": 11},
}
# texts that end an answer in llama.cpp, whatever the file says of them (llama-vocab.cpp)
ENDS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
    *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
    *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>"),
    *("<｜end▁of▁sentence｜>", "[e~["),
)
# beside the first ones llama.cpp takes the last one for an ordinary token
_NO_END_BESIDE = (
    ({"<|return|>", "<|call|>"}, "<|end|>"),
    ({"<|calls|>", "<|flush|>"}, "<|end|>"),
    ({"<|tool_response>"}, "</s>"),
    ({"<|plamo:eos|>"}, "</s>"),
)


@dataclass(frozen=True)
class SpecialToken:
    """A token with a role, such as bos, eos, eot, unk or pad.

    `text` is None for an id outside the vocabulary. `added` tells whether every text gets it, None when the
    file does not say; `is_default` that llama.cpp takes it because the file names none.
    """

    role: str
    id: int
    text: str | None
    added: bool | None = None
    is_default: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer; `ends` are the texts of all tokens that end an answer."""

    size: int
    model: str = ""
    pre_tokenizer: str = ""
    special: tuple[SpecialToken, ...] = ()
    ends: tuple[str, ...] = ()

    def token(self, role: str) -> SpecialToken | None:
        """Return the token with a role, if there is one."""
        return next((token for token in self.special if token.role == role), None)


def vocabulary_of(header: GGUFHeader) -> Vocabulary | None:
    """Return the tokenizer of a model; None when the file has none."""
    tokens = header.array(Key.TOKENS)
    if tokens is None:
        return None
    model = header.text(Key.TOKENIZER_MODEL)
    stated = _stated_ids(header)
    ids = {**_DEFAULTS.get(model, {}), **stated}
    texts = texts_at(tokens, ids.values())
    special = tuple(
        SpecialToken(
            role=role,
            id=ids[role],
            text=texts.get(ids[role]),
            added=_flag(header, role),
            is_default=role not in stated,
        )
        for role in sorted(ids, key=_rank)
    )
    named = [token.text for token in special if token.role in ("eos", "eot", "eom") and token.text]
    return Vocabulary(
        size=len(tokens),
        model=model,
        pre_tokenizer=header.text(Key.TOKENIZER_PRE),
        special=special,
        ends=_ends((*named, *contained(tokens, ENDS))),
    )


def _ends(texts: Iterable[str]) -> tuple[str, ...]:
    """Return each of the texts once, without those that are no ends beside the others."""
    found = dict.fromkeys(texts)
    for others, text in _NO_END_BESIDE:
        if others <= found.keys():
            found.pop(text, None)
    return tuple(found)


def _stated_ids(header: GGUFHeader) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for key in header.metadata:
        if key.startswith(_PREFIX) and key.endswith(_ID_SUFFIX):
            value = header.integer(key)
            role = key.removeprefix(_PREFIX).removesuffix(_ID_SUFFIX)
            if value is not None:
                found[_NAMES.get(role, role)] = value
    return found


def _rank(role: str) -> tuple[int, str]:
    return (_FIRST.index(role) if role in _FIRST else len(_FIRST), role)


def _flag(header: GGUFHeader, role: str) -> bool | None:
    value = header.metadata.get(f"{_PREFIX}add_{role}_token")
    return value if isinstance(value, bool) else None
