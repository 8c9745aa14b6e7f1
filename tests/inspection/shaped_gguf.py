"""GGUF files with the header of a model of any architecture and size, whose weights are holes.

They take no space on disk, llama.cpp loads them without reading weights (`no_alloc`), and the vocabulary is
left out unless one is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.writer import (
    TensorEntry,
    TypedValue,
    array,
    encode_header,
    float32,
    layout,
    string,
    uint32,
)

_NOT_QUANTIZED = ("norm.weight", ".bias", "conv1d.weight", "conv.weight", "ssm_a", "ssm_d", "gate_inp.weight")


@dataclass(frozen=True)
class Shape:
    """The dimensions of a model. `kv_heads` may differ per layer; a layer with 0 keeps a recurrent state."""

    architecture: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int | tuple[int, ...]
    head: int
    rows: int = 32_000
    context: int = 131_072
    experts: int = 0
    experts_used: int = 0
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    head_norms: bool = False
    has_output: bool = True
    is_fused: bool = False  # one matrix for query, key and value
    is_gated: bool = True
    extra: Mapping[str, TypedValue] = field(default_factory=dict)

    def kv_heads_of(self, layer: int) -> int:
        return self.kv_heads if isinstance(self.kv_heads, int) else self.kv_heads[layer]


LLAMA_3_8B = Shape("llama", 32, 4096, 14336, 32, 8, 128, rows=128_256)
QWEN_05B = Shape("qwen2", 24, 896, 4864, 14, 2, 64, rows=151_936, context=32_768, has_output=False)
QWEN3_4B = Shape("qwen3", 36, 2560, 9728, 32, 8, 128, rows=151_936, head_norms=True, has_output=False)
GEMMA2_9B = Shape(
    "gemma2",
    42,
    3584,
    14336,
    16,
    8,
    256,
    rows=256_000,
    context=8192,
    norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
    has_output=False,
    extra={"attention.sliding_window": uint32(4096)},
)
GEMMA3_4B = Shape(
    "gemma3",
    34,
    2560,
    10240,
    8,
    4,
    256,
    rows=262_144,
    norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
    head_norms=True,
    has_output=False,
    extra={"attention.sliding_window": uint32(1024)},
)
MIXTRAL = Shape("llama", 32, 4096, 14336, 32, 8, 128, context=32_768, experts=8, experts_used=2)
QWEN3_30B_A3B = Shape(
    "qwen3moe",
    48,
    2048,
    768,
    32,
    4,
    128,
    rows=151_936,
    context=40_960,
    experts=128,
    experts_used=8,
    head_norms=True,
    extra={"expert_feed_forward_length": uint32(768)},
)
MAMBA_2_8B = Shape(
    "mamba",
    64,
    2560,
    0,
    0,
    0,
    0,
    rows=50_280,
    context=2**20,
    norms=("attn_norm",),
    extra={
        "ssm.conv_kernel": uint32(4),
        "ssm.inner_size": uint32(5120),
        "ssm.state_size": uint32(16),
        "ssm.time_step_rank": uint32(160),
    },
)
LFM2_1_2B = Shape(
    "lfm2",
    16,
    2048,
    8192,
    32,
    (0, 0, 8, 0, 0, 8, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0),
    64,
    rows=65_536,
    context=128_000,
    head_norms=True,
    has_output=False,
    extra={"shortconv.l_cache": uint32(3)},
)
GPT2 = Shape(
    "gpt2",
    12,
    768,
    3072,
    12,
    12,
    64,
    rows=50_257,
    context=1024,
    is_fused=True,
    is_gated=False,
    has_output=False,
)
COHERE2 = Shape(
    "cohere2",
    32,
    4096,
    14336,
    32,
    8,
    128,
    rows=256_000,
    norms=("attn_norm",),
    has_output=False,
    extra={"attention.sliding_window": uint32(4096), "logit_scale": float32(0.25)},
)
SHAPES = {
    "llama-3-8b": LLAMA_3_8B,
    "qwen2.5-0.5b": QWEN_05B,
    "qwen3-4b": QWEN3_4B,
    "gemma-2-9b": GEMMA2_9B,
    "gemma-3-4b": GEMMA3_4B,
    "mixtral": MIXTRAL,
    "qwen3-30b-a3b": QWEN3_30B_A3B,
    "mamba-2.8b": MAMBA_2_8B,
    "lfm2-1.2b": LFM2_1_2B,
    "gpt2": GPT2,
    "cohere2": COHERE2,
}


def write_shaped_gguf(
    path: Path, shape: Shape, *, type_name: str = "Q4_K", vocabulary: Mapping[str, TypedValue] | None = None
) -> Path:
    """Write the header of a model of that shape, and holes for its weights; return the path."""
    wanted = TENSOR_TYPES_BY_NAME[type_name]
    plain = TENSOR_TYPES_BY_NAME["F32"]
    entries = [
        TensorEntry(
            name, size, plain if name.endswith(_NOT_QUANTIZED) or size[0] % wanted.block_size else wanted
        )
        for name, size in _tensors(shape)
    ]
    infos = layout(entries)
    with path.open("wb") as file:
        file.write(encode_header({**_metadata(shape), **(vocabulary or _no_vocabulary(shape))}, infos))
        file.truncate(file.tell() + infos[-1].offset + infos[-1].size_bytes)
    return path


def _metadata(shape: Shape) -> dict[str, TypedValue]:
    arch = shape.architecture
    values = {
        "context_length": uint32(shape.context),
        "embedding_length": uint32(shape.width),
        "block_count": uint32(shape.layers),
        "feed_forward_length": uint32(shape.inner),
        "attention.head_count": uint32(shape.heads),
        "attention.head_count_kv": uint32(shape.kv_heads)
        if isinstance(shape.kv_heads, int)
        else array(ValueType.INT32, shape.kv_heads),
        "attention.layer_norm_rms_epsilon": float32(1e-5),
        "attention.layer_norm_epsilon": float32(1e-5),
        **shape.extra,
    }
    if shape.head:
        values |= {"attention.key_length": uint32(shape.head), "attention.value_length": uint32(shape.head)}
    if shape.experts:
        values |= {"expert_count": uint32(shape.experts), "expert_used_count": uint32(shape.experts_used)}
    return {
        str(Key.ARCHITECTURE): string(arch),
        str(Key.NAME): string("shape"),
        **{f"{arch}.{suffix}": value for suffix, value in values.items()},
    }


def _no_vocabulary(shape: Shape) -> dict[str, TypedValue]:
    return {
        str(Key.TOKENIZER_MODEL): string("no_vocab"),
        f"{shape.architecture}.vocab_size": uint32(shape.rows),
    }


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (shape.width, shape.rows)
    yield "token_embd_norm.weight" if shape.architecture == "lfm2" else "output_norm.weight", (shape.width,)
    if shape.has_output:
        yield "output.weight", (shape.width, shape.rows)
    if shape.architecture == "gpt2":
        yield "position_embd.weight", (shape.width, shape.context)
        yield "output_norm.bias", (shape.width,)
    for layer in range(shape.layers):
        for name, size in _layer(shape, layer):
            yield f"blk.{layer}.{name}", size


def _layer(shape: Shape, layer: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, inner, kv_heads = shape.width, shape.inner, shape.kv_heads_of(layer)
    for norm in shape.norms:
        yield f"{norm}.weight", (width,)
        if shape.architecture == "gpt2":
            yield f"{norm}.bias", (width,)
    if shape.architecture == "mamba":
        yield from _mamba(shape)
        return
    if kv_heads:
        yield from _attention(shape, kv_heads)
    else:
        yield "shortconv.conv.weight", (3, width)
        yield "shortconv.in_proj.weight", (width, 3 * width)
        yield "shortconv.out_proj.weight", (width, width)
    stack = (shape.experts,) if shape.experts else ()
    suffix = "_exps" if stack else ""
    if stack:
        yield "ffn_gate_inp.weight", (width, shape.experts)
    if shape.is_gated:
        yield f"ffn_gate{suffix}.weight", (width, inner, *stack)
    yield f"ffn_up{suffix}.weight", (width, inner, *stack)
    yield f"ffn_down{suffix}.weight", (inner, width, *stack)
    if shape.architecture == "gpt2":
        yield "ffn_up.bias", (inner,)
        yield "ffn_down.bias", (width,)


def _attention(shape: Shape, kv_heads: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    query, key = shape.heads * shape.head, kv_heads * shape.head
    if shape.is_fused:
        yield "attn_qkv.weight", (shape.width, query + 2 * key)
        yield "attn_qkv.bias", (query + 2 * key,)
        yield "attn_output.bias", (shape.width,)
    else:
        for name, rows in (("attn_q", query), ("attn_k", key), ("attn_v", key)):
            yield f"{name}.weight", (shape.width, rows)
            if shape.architecture == "qwen2":
                yield f"{name}.bias", (rows,)
    yield "attn_output.weight", (query, shape.width)
    if shape.head_norms:
        yield "attn_q_norm.weight", (shape.head,)
        yield "attn_k_norm.weight", (shape.head,)


def _mamba(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    kernel, inner, state, rank = (
        int(shape.extra[f"ssm.{name}"].value)
        for name in ("conv_kernel", "inner_size", "state_size", "time_step_rank")
    )
    yield "ssm_in.weight", (shape.width, 2 * inner)
    yield "ssm_conv1d.weight", (kernel, inner)
    yield "ssm_conv1d.bias", (inner,)
    yield "ssm_x.weight", (inner, rank + 2 * state)
    yield "ssm_dt.weight", (rank, inner)
    yield "ssm_dt.bias", (inner,)
    yield "ssm_a", (state, inner)
    yield "ssm_d", (inner,)
    yield "ssm_out.weight", (inner, shape.width)
