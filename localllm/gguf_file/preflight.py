"""Refuses files that would make llama.cpp abort the process instead of reporting an error.

llama.cpp answers most damage with an error, but some metadata ends in an assertion failure, at load
or at the first token. These checks name the problem before llama.cpp sees the file. They hold for
model files; vocabulary-only files and adapters are checked as far as they go.
"""

from __future__ import annotations

import math

from localllm.errors import InvalidGGUFError
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.header import GGUFHeader

_MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
_MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_NEEDS_EXPERTS = ("smallthinker",)  # architectures that assert instead of reporting
_BYTE_TOKEN = 6  # LLAMA_TOKEN_TYPE_BYTE
_HAVE_DEFAULT_IDS = ("llama", "gpt2")  # vocabulary types that know a BOS and EOS when the file names none
_PHI3_TOKENS = (b"</s>", b"<unk>", b"<s>", b"<|endoftext|>")
_NOT_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")


def require_loadable(header: GGUFHeader, label: str) -> None:
    """Raise InvalidGGUFError when llama.cpp would not survive this file; `label` names it."""
    for problem in (
        _split(header),
        _layers(header),
        _experts(header),
        _rope(header),
        _epsilon(header),
        _vocabulary(header),
        _tensors(header),
        _texts(header),
    ):
        if problem:
            raise InvalidGGUFError(
                f"{label}: {problem}", hint="llama.cpp cannot run it; download or convert the model again"
            )


def _split(header: GGUFHeader) -> str | None:
    number, count = header.integer(Key.SPLIT_NUMBER), header.integer(Key.SPLIT_COUNT)
    if number and count:
        return f"it is file {number + 1} of a model split into {count}; name the first one"
    return None


def _layers(header: GGUFHeader) -> str | None:
    if not header.architecture:
        return "it does not say which architecture it is (`general.architecture`)"
    layers = header.architecture_integer("block_count")
    if layers is not None and not 1 <= layers <= _MAX_LAYERS:
        return f"it claims to have {layers} layers"
    context = header.architecture_integer("context_length")
    if context is not None and not 1 <= context < 2**31:
        return f"it claims a context of {context} tokens"
    predicted = header.architecture_integer("nextn_predict_layers")
    if predicted is not None and layers is not None and predicted > layers:
        return f"it claims {predicted} prediction layers of {layers}"
    return None


def _experts(header: GGUFHeader) -> str | None:
    total = header.architecture_integer("expert_count") or 0
    used = _largest(header, "expert_used_count")
    if total > _MAX_EXPERTS or used > total or (total > 0 and used == 0):
        return f"it claims to use {used} of {total} experts"
    if total == 0 and header.architecture in _NEEDS_EXPERTS:
        return f"it has no experts, which {header.architecture} models need"
    return _expert_groups(header, total)


def _expert_groups(header: GGUFHeader, experts: int) -> str | None:
    groups = header.architecture_integer("expert_group_count") or 0
    used = header.architecture_integer("expert_group_used_count") or 0
    if groups == 0 or (groups == 1 and experts > 1):
        return None
    if groups >= experts or experts % groups or not 0 < used < groups:
        return f"it claims to use {used} of {groups} groups of {experts} experts"
    return None


def _largest(header: GGUFHeader, suffix: str) -> int:
    """Return a value that may differ per layer: the largest one as llama.cpp's unsigned number, or 0."""
    per_layer = header.array(f"{header.architecture}.{suffix}")
    if per_layer is None:
        return header.architecture_integer(suffix) or 0
    return max((int(value) % 2**32 for value in per_layer.decode() if isinstance(value, int)), default=0)


def _rope(header: GGUFHeader) -> str | None:
    scaling = header.metadata.get(f"{header.architecture}.rope.scaling.type")
    if scaling is not None and scaling not in _ROPE_SCALINGS:
        return f"it asks for unknown rope scaling {str(scaling)[:40]!r}"
    return None


def _epsilon(header: GGUFHeader) -> str | None:
    for suffix in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        value = header.number(f"{header.architecture}.{suffix}")
        if value is not None and not (math.isfinite(value) and value >= 0):
            return f"`{suffix}` is {value}"
    return None


def _vocabulary(header: GGUFHeader) -> str | None:
    tokens = header.array(Key.TOKENS)
    if tokens is None:
        return None
    if tokens.item_type is not ValueType.STRING:
        return "its vocabulary is not a list of texts"
    texts = tokens.raw_strings()
    if len(set(texts)) != len(texts):
        seen: set[bytes] = set()
        twice = next(text for text in texts if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        return f"token {twice.decode('utf-8', 'replace')[:40]!r} appears twice in its vocabulary"
    for key in ("bos", "eos", "unknown", "padding", "seperator", "eot"):
        index = header.integer(f"tokenizer.ggml.{key}_token_id")
        if index is not None and not 0 <= index < len(texts):
            return f"its {key} token {index} is outside the vocabulary of {len(texts)}"
    known = set(texts)
    return _added_tokens(header) or _byte_tokens(header, known) or _phi3_tokens(header, known)


def _added_tokens(header: GGUFHeader) -> str | None:
    """Tokenizing asserts that a token to be added exists."""
    model = header.text(Key.TOKENIZER_MODEL)
    for kind, always in (("bos", model == "gemma4"), ("eos", False)):
        wanted = always or header.metadata.get(f"tokenizer.ggml.add_{kind}_token") is True
        known = header.integer(f"tokenizer.ggml.{kind}_token_id") is not None
        if wanted and not known and model not in _HAVE_DEFAULT_IDS:
            return f"it adds a {kind} token but does not say which"
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


def _tensors(header: GGUFHeader) -> str | None:
    for tensor in header.tensors:
        dimensions = sum(1 for size in tensor.shape if size > 1)
        if tensor.type.name in _NOT_WEIGHTS:
            return f"tensor `{tensor.name}` has type {tensor.type.name}, which is not a weight type"
        is_vector = len(tensor.shape) == 1 or tensor.name.endswith(("norm.weight", ".bias"))
        if is_vector and dimensions <= 1 and tensor.type.name != "F32":
            return f"vector `{tensor.name}` is stored as {tensor.type.name} instead of F32"
    return None


def _texts(header: GGUFHeader) -> str | None:
    """The binding drops all metadata when one text is not UTF-8; the reader marks such bytes."""
    for key, value in header.metadata.items():
        if isinstance(value, str) and "\ufffd" in value:
            return f"metadata `{key}` is not valid UTF-8"
    return None
