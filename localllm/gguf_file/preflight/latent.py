"""Whether the numbers of latent attention fit one another: what is kept of a token, what heads make of it."""

from __future__ import annotations

from localllm.gguf_file.header import GGUFHeader
from localllm.gguf_file.preflight.architectures import LATENT
from localllm.gguf_file.preflight.numbers import by_layer, number


def latent_problem(header: GGUFHeader) -> str | None:
    """Return what is wrong with the numbers of an architecture whose keys and values are compressed."""
    if header.architecture not in LATENT or not header.tensors:
        return None
    return _heads(header) or _temperature(header)


def _heads(header: GGUFHeader) -> str | None:
    """All heads share one key, the compressed vector with the rotated part; values are that vector."""
    key, head = (header.architecture_integer(f"attention.key_length{end}") for end in ("", "_mla"))
    rotated = header.architecture_integer("rope.dimension_count")
    if key is None or rotated is None:
        return "it does not say how long its keys are and how much of them is rotated"
    size = key if head is None else head
    if not 0 < rotated < size:
        return f"it claims to rotate {rotated} of the {size} numbers of a head, not a part"
    if head is None:  # an old file, which has the keys of all heads
        return None
    latent = header.architecture_integer("attention.kv_lora_rank") or 0
    if key != latent + rotated:
        return f"it claims keys of {key} numbers, made of {latent} and the {rotated} that are rotated"
    shared = set(by_layer(header, "attention.head_count_kv"))
    return None if shared == {1} else "it claims several keys of each token where all heads share one"


def _temperature(header: GGUFHeader) -> str | None:
    if number(header, "attention.temperature_scale") and not number(header, "attention.temperature_length"):
        return "it claims to sharpen attention with each 0 tokens"
    return None
