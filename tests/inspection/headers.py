"""Headers as reading a file would give them, made without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.writer import TensorEntry, TypedValue, array, header_to_be, layout, string, uint32

Tensors = Mapping[str, tuple[tuple[int, ...], str]]

TOKENS = ("<unk>", "<s>", "</s>", "a", "b", "<|im_end|>")
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def vocabulary(tokens: Sequence[str] = TOKENS, **ids: int) -> dict[str, TypedValue]:
    """Return the keys of a vocabulary, `ids` of special tokens among them."""
    return {
        str(Key.TOKENIZER_MODEL): string("llama"),
        str(Key.TOKENS): array(ValueType.STRING, tokens),
        **{f"tokenizer.ggml.{role}_token_id": uint32(index) for role, index in ids.items()},
    }


def header(
    metadata: Mapping[str, TypedValue] | None = None,
    tensors: Tensors | None = None,
    *,
    architecture: str = "llama",
) -> GGUFHeader:
    """Return a header with the tensors `name: (shape in ggml order, type)`."""
    entries = [
        TensorEntry(name, shape, TENSOR_TYPES_BY_NAME[kind])
        for name, (shape, kind) in (tensors or {}).items()
    ]
    values = {str(Key.ARCHITECTURE): string(architecture)} if architecture else {}
    return header_to_be({**values, **(metadata or {})}, layout(entries))


def model(
    extra: Mapping[str, TypedValue] | None = None,
    tensors: Tensors | None = None,
    *,
    architecture: str = "llama",
    **dimensions: int,
) -> GGUFHeader:
    """Return the header of a small sound model; `dimensions` replaces hyperparameters by their last word."""
    names = {
        "layers": "block_count",
        "width": "embedding_length",
        "heads": "attention.head_count",
        "kv_heads": "attention.head_count_kv",
        "inner": "feed_forward_length",
        "context": "context_length",
    }
    sizes = {"layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "inner": 128, "context": 4096, **dimensions}
    hyperparameters = {f"{architecture}.{names[name]}": uint32(value) for name, value in sizes.items()}
    metadata = {
        **hyperparameters,
        **vocabulary(bos=1, eos=2, unknown=0),
        str(Key.CHAT_TEMPLATE): string(TEMPLATE),
        **(extra or {}),
    }
    weights = {"token_embd.weight": ((64, len(TOKENS)), "F32"), "output_norm.weight": ((64,), "F32")}
    return header(metadata, weights if tensors is None else tensors, architecture=architecture)
