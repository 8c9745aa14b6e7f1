"""Which layers keep a state of fixed size in place of a cache, and how large that is.

Source: `llm_arch_is_recurrent`, `llm_arch_is_hybrid`, `n_embd_r` and `n_embd_s` of llama.cpp, and the
architectures' own files in src/models.
"""

from __future__ import annotations

from collections.abc import Sequence

from localllm.gguf_file import GGUFHeader
from localllm.memory.numbers import per_layer, whole

DOES_BOTH = {"falcon-h1"}  # every layer attends, and keeps a state
_ALL_RECUR = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
_SOME_ATTEND = {"qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01"}  # every fourth, or as stated
_FULL_INTERVAL = 4
# a layer without key-value heads keeps a state
_NO_HEADS_RECURS = {
    *("jamba", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe"),
    *("kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next"),
}
_NO_INNER_RECURS = {"nemotron_h", "nemotron_h_moe"}  # there one with a feed-forward length is only that
_FLOAT_BYTES = 4


def recurrent_layers(header: GGUFHeader, count: int) -> Sequence[bool]:
    """Tell for each layer whether it keeps a state."""
    arch = header.architecture
    if arch in _ALL_RECUR or arch in DOES_BOTH:
        return [True] * count
    if arch in _SOME_ATTEND:
        stated = per_layer(header, "attention.recurrent_layers", count)
        if stated is not None:
            return [bool(flag) for flag in stated]
        interval = whole(header, "full_attention_interval") or _FULL_INTERVAL
        own = count - whole(header, "nextn_predict_layers")
        return [index < own and (index + 1) % interval != 0 for index in range(count)]
    if arch in _NO_HEADS_RECURS:
        heads = per_layer(header, "attention.head_count_kv", count) or [1] * count
        inner = per_layer(header, "feed_forward_length", count) or [0] * count
        needs_no_inner = arch in _NO_INNER_RECURS
        return [not heads[index] and not (needs_no_inner and inner[index]) for index in range(count)]
    return [False] * count


def state_bytes(header: GGUFHeader, count: int) -> int:
    """Return the bytes of the state that one recurrent layer keeps, in float32."""
    width, kernel = whole(header, "embedding_length"), whole(header, "ssm.conv_kernel")
    heads = (per_layer(header, "attention.head_count", count) or [0])[0]
    wkv, convolved = whole(header, "wkv.head_size"), whole(header, "shortconv.l_cache")
    delta = whole(header, "kda.head_dim")
    if wkv:
        numbers = width * (whole(header, "token_shift_count") or 2) + width * wkv
    elif convolved:
        numbers = width * (convolved - 1)
    elif delta:
        numbers = 3 * (kernel - 1 if kernel else 3) * heads * delta + delta * delta * heads
    else:
        inner, state = whole(header, "ssm.inner_size"), whole(header, "ssm.state_size")
        groups = whole(header, "ssm.group_count")
        numbers = max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner
    return _FLOAT_BYTES * numbers
