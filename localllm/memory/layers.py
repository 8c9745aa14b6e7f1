"""What each layer of a model keeps while it runs: keys and values of every token, or a state of fixed size.

Source: src/llama-hparams.cpp, src/llama-kv-cache*.cpp, src/llama-memory-*.cpp and `create_memory` of
llama.cpp. Left out are the small extra caches of sparse attention (DeepSeek 3.2, GLM-DSA, MiniMax-M3).
"""

from __future__ import annotations

from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader
from localllm.memory.numbers import layer_count, per_layer, whole
from localllm.memory.recurrence import DOES_BOTH, recurrent_layers, state_bytes
from localllm.memory.windows import windows_of

# no cache at all: they read a text at once (create_memory of llama.cpp returns nothing)
NO_CACHE = {
    *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3"),
    *("eurobert", "gemma-embedding", "wavtokenizer-dec", "dream", "llada", "llada-moe", "rnd1"),
}
_GEMMA3N_LAYERS_WITH_CACHE = 20


@dataclass(frozen=True)
class LayerMemory:
    """What one layer keeps: `keys` and `values` are numbers per token, `state_bytes` is once for all.

    With a `window` only about so many of the last tokens are kept.
    """

    keys: int = 0
    values: int = 0
    window: int | None = None
    state_bytes: int = 0


def layers_of(header: GGUFHeader) -> tuple[LayerMemory, ...] | None:
    """Return what the layers of a model keep, in order; None when the header does not tell."""
    count = layer_count(header)
    if count is None:
        return None
    if header.architecture in NO_CACHE:
        return (LayerMemory(),) * count
    recurs = recurrent_layers(header, count)
    attention = _attention(header, count)
    if attention is None and not all(recurs):
        return None
    state = state_bytes(header, count) if any(recurs) else 0
    attends = [header.architecture in DOES_BOTH or not recurring for recurring in recurs]
    return tuple(
        LayerMemory(
            keys=layer.keys if attends[index] else 0,
            values=layer.values if attends[index] else 0,
            window=layer.window,
            state_bytes=state if recurs[index] else 0,
        )
        for index, layer in enumerate(attention or [LayerMemory()] * count)
    )


def _attention(header: GGUFHeader, count: int) -> list[LayerMemory] | None:
    """Return what the layers would keep if all of them attended; None when the header does not tell."""
    heads = per_layer(header, "attention.head_count", count)
    kv_heads = per_layer(header, "attention.head_count_kv", count) or heads
    width = whole(header, "embedding_length")
    if not heads or not heads[0] or not kv_heads or not width:
        return None
    key = whole(header, "attention.key_length") or width // heads[0]
    value = whole(header, "attention.value_length") or width // heads[0]
    windowed_key = whole(header, "attention.key_length_swa") or key
    windowed_value = whole(header, "attention.value_length_swa") or value
    # multi-head latent attention keeps one compressed vector, in place of keys and values
    has_values = not whole(header, "attention.key_length_mla")
    cached = _layers_with_cache(header, count)
    found = []
    for index, window in enumerate(windows_of(header, count)):
        groups = kv_heads[index] if index < cached else 0
        keys, values = (key, value) if window is None else (windowed_key, windowed_value)
        found.append(LayerMemory(keys * groups, values * groups if has_values else 0, window))
    return found


def _layers_with_cache(header: GGUFHeader, count: int) -> int:
    """Return how many of the first layers keep something of their own.

    The last ones may use another's keys, or predict further tokens, which needs a context of its own.
    """
    if header.architecture == "gemma3n":
        return min(count, _GEMMA3N_LAYERS_WITH_CACHE)
    shared = whole(header, "attention.shared_kv_layers")
    predicting = whole(header, "nextn_predict_layers")
    return max(0, count - shared - predicting)
