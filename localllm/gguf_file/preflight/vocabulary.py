"""Whether llama.cpp can make a tokenizer of the vocabulary, and tokenize with it.

Where a special token is not named, or named wrongly, llama.cpp has a default id for some kinds of
vocabulary; where there is none either, tokenizing asserts that there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from localllm.gguf_file.format import Key
from localllm.gguf_file.header import GGUFHeader
from localllm.gguf_file.source import printable

_MOST_TOKENS = 2**20  # the largest vocabularies have 262,144
_LONGEST_TOKEN = 65_536
_NEED_MERGES = ("gpt2", "gemma4", "hybriddna", "whitespace")
_NEEDS_NO_MERGES = "kimi-k2"  # the pre-tokenizer of the only ones that do without
_BYTE_TOKEN = 6  # LLAMA_TOKEN_TYPE_BYTE
_PHI3_TOKENS = (b"</s>", b"<unk>", b"<s>", b"<|endoftext|>")
# the ids of BOS, EOS and separator when the file names none
_DEFAULT_IDS = {
    "llama": {"bos": 1, "eos": 2},
    "bert": {"bos": 101, "seperator": 102},
    "gpt2": {"bos": 11, "eos": 11},
    "hybriddna": {"bos": 11, "eos": 11},
    "whitespace": {"bos": 11, "eos": 11},
    "t5": {"eos": 1},
    "plamo2": {"bos": 1, "eos": 2},
}
# what is added to a text when the file does not say whether; for BPE it depends on the pre-tokenizer. Kinds
# of vocabulary that are not here add nothing.
_ADDED = {
    "llama": ("bos",),
    "bert": ("bos", "seperator"),
    "t5": ("eos",),
    "gpt2": ("bos",),
    "hybriddna": ("bos",),
    "whitespace": ("bos",),
    "gemma4": ("bos",),
}
_ALWAYS_ADDED = {"bert": ("bos", "seperator"), "gemma4": ("bos",)}


def vocabulary_problem(header: GGUFHeader) -> str | None:
    """Return what is wrong with the vocabulary, whose values have the right types."""
    tokens = header.array(Key.TOKENS)
    if tokens is None:
        return None
    if not 1 <= len(tokens) <= _MOST_TOKENS:
        return f"its vocabulary has {len(tokens)} tokens"
    texts = tokens.raw_strings()
    known = set(texts)
    return (
        _repeated(texts, known)
        or _too_long(texts)
        or _lists(header, len(texts))
        or _added_tokens(header, len(texts))
        or _byte_tokens(header, known)
        or _phi3_tokens(header, known)
    )


def _repeated(texts: Sequence[bytes], known: set[bytes]) -> str | None:
    """llama.cpp reads texts up to a zero byte and gives empty ones a name."""
    if len(known) == len(texts) and b"" not in known and not any(b"\0" in text for text in texts):
        return None
    seen: set[bytes] = set()
    for index, text in enumerate(texts):
        read = text.partition(b"\0")[0] or b"[EMPTY_%d]" % index
        if read in seen:
            return f"token {_quoted(text)} appears twice in its vocabulary"
        seen.add(read)
    return None


def _too_long(texts: Sequence[bytes]) -> str | None:
    longest = max(texts, key=len)
    if len(longest) > _LONGEST_TOKEN:
        return f"token {_quoted(longest)} is {len(longest)} bytes long"
    return None


def _lists(header: GGUFHeader, tokens: int) -> str | None:
    """What is said of each token must be said of all; merges must be there where they are needed."""
    for key, what in ((Key.SCORES, "scores"), (Key.TOKEN_TYPES, "token types")):
        found = header.array(key)
        if found is not None and len(found) < tokens:
            return f"its vocabulary has {len(found)} {what} for {tokens} tokens"
    model, pre = header.text(Key.TOKENIZER_MODEL), header.text(Key.TOKENIZER_PRE)
    if model in _NEED_MERGES and pre != _NEEDS_NO_MERGES and header.array(Key.MERGES) is None:
        return f"its vocabulary is of type `{model}` but has no merges"
    return None


def _added_tokens(header: GGUFHeader, tokens: int) -> str | None:
    """Tokenizing asserts that a token to be added exists."""
    model = header.text(Key.TOKENIZER_MODEL)
    for kind in ("bos", "eos", "seperator") if model in _ADDED else ():
        said = header.metadata.get(f"tokenizer.ggml.add_{'sep' if kind == 'seperator' else kind}_token")
        added = kind in _ADDED.get(model, ()) if said is None else said is True
        if (added or kind in _ALWAYS_ADDED.get(model, ())) and not _has_token(header, kind, tokens):
            return f"it adds a {kind} token but does not say which"
    return None


def _has_token(header: GGUFHeader, kind: str, tokens: int) -> bool:
    """Tell whether the file, or llama.cpp's default, names a token that is there."""
    named = header.integer(f"tokenizer.ggml.{kind}_token_id")
    default = _DEFAULT_IDS.get(header.text(Key.TOKENIZER_MODEL), {}).get(kind)
    return any(index is not None and 0 <= index < tokens for index in (named, default))


def _byte_tokens(header: GGUFHeader, texts: set[bytes]) -> str | None:
    """Text outside the vocabulary is spelled in byte tokens: a `llama` vocabulary needs all, `bert` none."""
    model = header.text(Key.TOKENIZER_MODEL)
    types = header.array(Key.TOKEN_TYPES)
    if model == "bert" and types is not None and _BYTE_TOKEN in types.decode():
        return "its vocabulary is of type `bert` and has byte tokens"
    if model == "llama":
        for byte in range(256):
            if b"<0x%02X>" % byte not in texts and bytes([byte]) not in texts:
                return f"its vocabulary has no token for byte 0x{byte:02X}"
    return None


def _phi3_tokens(header: GGUFHeader, texts: set[bytes]) -> str | None:
    """A model whose name contains these words is taken for Phi-3, whatever it is."""
    name = header.text(Key.NAME).lower()
    word = next((word for word in ("phi-3", "phi3") if word in name), None)
    absent = next((token for token in _PHI3_TOKENS if token not in texts), None)
    if word is None or absent is None:
        return None
    return (
        f"its name contains `{word}`, for which llama.cpp demands the token `{absent.decode()}`; "
        "give it another one (`localllm convert --name`)"
    )


def _quoted(text: bytes) -> str:
    return f"'{printable(text[:40].decode('utf-8', 'replace'))}'"
