"""Models that are whole as files and say something wrong, each with what the preflight says to it.

DEADLY: llama.cpp dies of it, at load, when tokenizing or at the first token; if not in this tiny model, then
in the one it was found in. The table of mutations in the facts is here, and what campaigns found since.
REPORTED: llama.cpp has an error of its own, ours is clearer. The values are what `build_tiny_gguf` takes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from localllm.gguf_file import TypedValue
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.writer import array, boolean, float32, string, uint32
from tests.tiny_gguf import CONTEXT, HEADS, KV_HEADS, RawTensor, build_tiny_gguf, raw_tensor

WIDTH, LAYERS = 64, 2
HEAD = WIDTH // HEADS
TOKENS_SPM = 277
ONES = np.ones(WIDTH, np.float32)
NO_IDS = {f"tokenizer.ggml.{kind}_token_id": None for kind in ("bos", "eos", "unknown")}

Changes = dict[str, Any]


def build(path: Path, changes: Changes) -> Path:
    return build_tiny_gguf(path, width=WIDTH, layers=LAYERS, **changes)


def metadata(**values: TypedValue | None) -> Changes:
    """Override keys; `__` stands for a dot."""
    return {"overrides": {name.replace("__", "."): value for name, value in values.items()}}


def hyperparameters(**values: TypedValue | None) -> Changes:
    """Override `llama.…` keys."""
    return metadata(**{f"llama__{name}": value for name, value in values.items()})


def architecture(name: str, **values: TypedValue | None) -> Changes:
    """Make the model one of another architecture, with its keys; override some of them."""
    common = {
        "context_length": uint32(CONTEXT),
        "embedding_length": uint32(WIDTH),
        "block_count": uint32(LAYERS),
        "feed_forward_length": uint32(WIDTH),
        "attention.head_count": uint32(HEADS),
        "attention.head_count_kv": uint32(KV_HEADS),
        "attention.layer_norm_rms_epsilon": float32(1e-5),
        "attention.layer_norm_epsilon": float32(1e-5),
        "rope.dimension_count": uint32(HEAD),
        **{suffix.replace("__", "."): value for suffix, value in values.items()},
    }
    return {
        "overrides": {
            Key.ARCHITECTURE: string(name),
            **{f"{name}.{suffix}": value for suffix, value in common.items()},
        }
    }


def latent(**values: TypedValue | None) -> Changes:
    """Make the model one with latent attention, heads of 24 numbers; override some of its keys."""
    common = {
        "attention__head_count_kv": uint32(1),
        "attention__kv_lora_rank": uint32(32),
        "attention__key_length": uint32(40),
        "attention__value_length": uint32(32),
        "attention__key_length_mla": uint32(24),
        "rope__dimension_count": uint32(8),
    }
    return architecture("deepseek2", **{**common, **values})


def stored_as(name: str, kind: str, *shape: int) -> Changes:
    """Replace a tensor by zeros of another type."""
    size = TENSOR_TYPES_BY_NAME[kind].row_bytes(shape[0]) * math.prod(shape[1:])
    return {"tensors": {name: RawTensor(TENSOR_TYPES_BY_NAME[kind], shape, bytes(size))}}


def without(name: str) -> Changes:
    return {"tensors": {name: None}}


def tokens(vocabulary: str, texts: list[str]) -> Changes:
    return {"vocabulary": vocabulary, "overrides": {Key.TOKENS: array(ValueType.STRING, texts)}}


def numbers(*values: int) -> TypedValue:
    return array(ValueType.UINT32, values)


BYTE_TOKENS = [f"<0x{value:02X}>" for value in range(256)]
SPM_TOKENS = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, *(f"t{index}" for index in range(18))]

DEADLY: dict[str, tuple[Changes, str]] = {
    # the table of mutations
    "no layers": (hyperparameters(block_count=uint32(0)), "claims to have 0 layers"),
    "too many layers": (hyperparameters(block_count=uint32(513)), "claims to have 513 layers"),
    "unknown rope scaling": (hyperparameters(rope__scaling__type=string("su")), "unknown rope scaling 'su'"),
    "experts without a used count": (hyperparameters(expert_count=uint32(4)), "use 0 of 4 experts"),
    "more experts used than there are": (
        hyperparameters(expert_count=uint32(2), expert_used_count=uint32(3)),
        "use 3 of 2 experts",
    ),
    "experts used without experts": (hyperparameters(expert_used_count=uint32(1)), "use 1 of 0 experts"),
    "experts used per layer without experts": (
        hyperparameters(expert_used_count=numbers(1, 1)),
        "use 1 of 0 experts",
    ),
    "too many experts": (
        hyperparameters(expert_count=uint32(1025), expert_used_count=uint32(2)),
        "2 of 1025 experts",
    ),
    "more predicted layers than layers": (
        hyperparameters(nextn_predict_layers=uint32(9)),
        "9 prediction layers of 2",
    ),
    "the same token twice (spm)": (
        tokens("spm", [*SPM_TOKENS[:-1], SPM_TOKENS[-2]]),
        "'t16' appears twice in its vocabulary",
    ),
    "the same token twice (bpe)": (tokens("bpe", ["a", "b", "a"]), "'a' appears twice in its vocabulary"),
    "negative epsilon": (
        hyperparameters(attention__layer_norm_rms_epsilon=float32(-1.0)),
        "rms_epsilon` is -1",
    ),
    "epsilon not a number": (
        hyperparameters(attention__layer_norm_rms_epsilon=float32(math.nan)),
        "rms_epsilon` is nan",
    ),
    "norm as F16": ({"tensors": {"output_norm.weight": raw_tensor(ONES, "F16")}}, "F16 instead of F32"),
    "norm as Q8_0": (stored_as("blk.0.attn_norm.weight", "Q8_0", WIDTH), "Q8_0 instead of F32"),
    "embeddings as I32": (stored_as("token_embd.weight", "I32", WIDTH, TOKENS_SPM), "not a weight type"),
    "weights as F64": (stored_as("blk.0.attn_q.weight", "F64", WIDTH, WIDTH), "not a weight type"),
    "endless context": (
        hyperparameters(context_length=uint32(2**32 - 1)),
        "claims a context of 4294967295 tokens",
    ),
    # found since, by reading llama.cpp and by campaigns
    "expert groups without experts": (hyperparameters(expert_group_count=uint32(2)), "0 of 2 groups"),
    "an architecture without its experts (smallthinker)": (
        architecture("smallthinker"),
        "no experts, which smallthinker models need",
    ),
    "an architecture without its experts (llada-moe)": (
        architecture("llada-moe"),
        "no experts, which llada-moe models need",
    ),
    "experts chosen in an unknown way": (
        hyperparameters(expert_count=uint32(4), expert_used_count=uint32(2), expert_gating_func=uint32(8)),
        "unknown way 8 to choose experts",
    ),
    "no byte tokens": (
        tokens("spm", [f"token{index}" for index in range(TOKENS_SPM)]),
        "no token for byte 0x00",
    ),
    "byte tokens in a bert vocabulary": (
        metadata(tokenizer__ggml__model=string("bert")),
        "has byte tokens",
    ),
    "no BOS although one is added": (
        {
            "overrides": {
                Key.TOKENIZER_MODEL: string("t5"),
                "tokenizer.ggml.add_bos_token": boolean(True),
                **NO_IDS,
            },
        },
        "adds a bos token but does not say which",
    ),
    "no BOS, and no token of the default id": (
        {
            "vocabulary": "bpe",
            "overrides": {
                Key.TOKENS: array(ValueType.STRING, ["a", "b"]),
                "tokenizer.ggml.add_bos_token": boolean(True),
            },
        },
        "adds a bos token but does not say which",
    ),
    "tokens that are the same up to a zero byte": (
        tokens("spm", [*SPM_TOKENS[:-2], "a\0b", "a\0c"]),
        r"'a\\x00c' appears twice",
    ),
    "a token with the name of an empty one": (
        tokens("spm", [*SPM_TOKENS[:-2], "[EMPTY_276]", ""]),
        "'' appears twice",
    ),
    "no vocabulary": (metadata(tokenizer__ggml__model=string("none")), "it has no vocabulary"),
    "norm as F16 with two dimensions": (stored_as("output_norm.weight", "F16", WIDTH, 1), "instead of F32"),
    "norms of heads as BF16": (
        stored_as("blk.1.attn_k_norm.weight", "BF16", HEAD, KV_HEADS),
        "BF16 instead of F32",
    ),
    "bias as BF16": (stored_as("blk.0.attn_q.bias", "BF16", WIDTH), "BF16 instead of F32"),
    "rope factors as F16": (stored_as("rope_freqs.weight", "F16", WIDTH // 8), "F16 instead of F32"),
    "tensors that are not aligned": ({"alignment": 8}, "is not aligned to 32 bytes"),
    "no architecture": (metadata(general__architecture=None), "which architecture"),
    "no heads": (architecture("olmo2", attention__head_count=None), "no attention heads"),
    "heads that cannot share": (
        hyperparameters(attention__head_count_kv=uint32(3)),
        "4 attention heads that share 3",
    ),
    "heads of two sizes": (
        architecture("qwen2", attention__key_length=uint32(8)),
        "8 numbers for keys and 16 for values",
    ),
    "heads of no numbers": (hyperparameters(embedding_length=uint32(3)), "heads of 0 numbers"),
    "nothing rotated": (architecture("gptneox", rope__dimension_count=uint32(0)), "rotate 0 of the 16"),
    "nothing rotated in sliding windows": (
        architecture("gemma2", rope__dimension_count_swa=uint32(0)),
        "rotate 0 of the 16 numbers of a head in sliding windows",
    ),
    "more rotated in sliding windows than there is": (
        architecture("gemma3", attention__key_length_swa=uint32(8)),
        "rotate 16 of the 8 numbers of a head in sliding windows",
    ),
    "a whole head rotated of latent attention": (
        latent(rope__dimension_count=uint32(24)),
        "rotate 24 of the 24 numbers of a head, not a part",
    ),
    "latent attention that rotates nothing said": (
        latent(rope__dimension_count=None),
        "how long its keys are and how much of them is rotated",
    ),
    "keys that are not made of the compressed vector": (
        latent(attention__key_length=uint32(41)),
        "keys of 41 numbers, made of 32 and the 8 that are rotated",
    ),
    "a compressed vector for each head": (latent(attention__head_count_kv=uint32(2)), "several keys"),
    "a temperature without a length": (
        latent(attention__temperature_scale=float32(0.1)),
        "sharpen attention with each 0 tokens",
    ),
    "an odd number rotated": (architecture("gptneox", rope__dimension_count=uint32(5)), "rotate 5 of the 16"),
    "more rotated than there is": (
        architecture("stablelm", rope__dimension_count=uint32(512)),
        "rotate 512 of the 16",
    ),
    "rotated heads of 4 billion numbers": (
        architecture("stablelm", rope__dimension_count=uint32(4278190084)),
        "rotate 4278190084 of the 16",
    ),
    "part of a head rotated where all is": (
        architecture("smollm3", rope__dimension_count=uint32(8)),
        "rotate 8 of the 16 numbers of a head, not all",
    ),
    "no sections to rotate in": (architecture("qwen2vl"), "in which sections"),
    "a sliding window of 2 billion tokens": (
        architecture("gemma3", attention__sliding_window=uint32(2**31)),
        "a sliding window of 2147483648 tokens",
    ),
    "a sliding window for no layer": (
        architecture("gemma2", attention__sliding_window_pattern=array(ValueType.BOOL, [False, False])),
        "sliding window for none",
    ),
    "a sliding window for no layer of a period": (
        architecture("gemma2", attention__sliding_window_pattern=uint32(1)),
        "sliding window for none",
    ),
    "a vision projector": (architecture("clip"), "the projector of a vision model"),
    "a draft model": (architecture("eagle3"), "a draft model"),
    "an encoder and a decoder": (architecture("t5"), "an encoder-decoder model"),
}

REPORTED: dict[str, tuple[Changes, str]] = {
    "missing key: layers": (hyperparameters(block_count=None), "lacks `llama.block_count`"),
    "missing key: context": (hyperparameters(context_length=None), "lacks `llama.context_length`"),
    "missing key: width": (hyperparameters(embedding_length=None), "lacks `llama.embedding_length`"),
    "missing key: epsilon": (
        hyperparameters(attention__layer_norm_rms_epsilon=None),
        "lacks `llama.attention.layer_norm_rms_epsilon`",
    ),
    "missing key: heads": (hyperparameters(attention__head_count=None), "no attention heads"),
    "wrong type: layers": (
        hyperparameters(block_count=TypedValue(ValueType.INT32, 2)),
        "`llama.block_count` is of type INT32 instead of UINT32",
    ),
    "wrong type: name": (metadata(general__name=uint32(1)), "`general.name` is of type UINT32"),
    "wrong type: base": (
        hyperparameters(rope__freq_base=uint32(10000)),
        "is of type UINT32 instead of FLOAT32",
    ),
    "wrong type: tokens": (
        {"overrides": {Key.TOKENS: array(ValueType.INT32, list(range(TOKENS_SPM)))}},
        "list of INT32 instead of STRING",
    ),
    "wrong length: heads": (
        hyperparameters(attention__head_count=numbers(4, 4, 4)),
        "`attention.head_count` has 3 numbers for 2 layers",
    ),
    "wrong length: scores": (
        {"overrides": {Key.SCORES: array(ValueType.FLOAT32, [0.0] * 276)}},
        "276 scores for 277 tokens",
    ),
    "wrong length: token types": (
        {"overrides": {Key.TOKEN_TYPES: array(ValueType.INT32, [1] * 276)}},
        "276 token types for 277 tokens",
    ),
    "missing tensor: a layer's": (without("blk.1.attn_q.weight"), "layer 2 lacks a tensor `attn_q.weight`"),
    "missing tensor: another layer's": (
        without("blk.0.ffn_up.weight"),
        "layer 1 lacks a tensor `ffn_up.weight`",
    ),
    "missing tensor: the last norm": (without("output_norm.weight"), "no tensor `output_norm.weight`"),
    "missing tensor: embeddings": (without("token_embd.weight"), "no tensor `token_embd.weight`"),
    "missing tensors: a layer": (hyperparameters(block_count=uint32(3)), "no tensors of layer 3 of 3"),
    "extra tensors: a layer": (hyperparameters(block_count=uint32(1)), "tensors of layer 2 but claims 1"),
    "extra tensor: in a layer": (
        stored_as("blk.1.extra.weight", "F32", WIDTH, 2),
        "layer 1 lacks a tensor `extra.weight`, which layer 2 has",
    ),
    "shape: embeddings too narrow": (
        stored_as("token_embd.weight", "F32", WIDTH // 2, TOKENS_SPM),
        "embeddings are 32 wide instead of 64",
    ),
    "shape: embeddings for fewer tokens": (
        stored_as("token_embd.weight", "F32", WIDTH, 276),
        "embeddings for 276 tokens but a vocabulary of 277",
    ),
    "shape: one layer's": (
        stored_as("blk.1.ffn_down.weight", "F32", WIDTH, 32),
        r"`ffn_down.weight` of layer 2 has the shape \(64, 32\)",
    ),
    "shape: heads": (
        hyperparameters(attention__head_count_kv=uint32(4)),
        r"`attn_k.weight` has the shape \(64, 32\) instead of \(64, 64\)",
    ),
    "missing merges": ({"vocabulary": "bpe", "overrides": {Key.MERGES: None}}, "has no merges"),
    "no heads": (hyperparameters(attention__head_count=uint32(0)), "no attention heads"),
    "no heads for keys and values": (
        hyperparameters(attention__head_count_kv=uint32(0)),
        "no attention heads for keys and values",
    ),
    "heads of an odd size": (
        hyperparameters(attention__key_length=uint32(15), attention__value_length=uint32(15)),
        "rotate 16 of the 15",
    ),
    "rotation of another size": (hyperparameters(rope__dimension_count=uint32(8)), "rotate 8 of the 16"),
    "a later file of a split model": (
        metadata(
            split__no=TypedValue(ValueType.UINT16, 1),
            split__count=TypedValue(ValueType.UINT16, 2),
            split__tensors__count=TypedValue(ValueType.INT32, 21),
        ),
        "file 2 of a model split into 2",
    ),
    "split count of a wrong type": (metadata(split__count=uint32(2)), "`split.count` is of type UINT32"),
}

# llama.cpp has its own error, which depends on its version
LEFT_TO_LLAMA_CPP: dict[str, Changes] = {
    "unknown architecture": architecture("unheard-of"),
    "unknown architecture, and no key of it": metadata(general__architecture=string("unheard-of")),
    "unknown vocabulary": metadata(tokenizer__ggml__model=string("unheard-of")),
    "unknown pre-tokenizer": {"vocabulary": "bpe", "overrides": {Key.TOKENIZER_PRE: string("unheard-of")}},
}

SOUND: dict[str, Changes] = {
    "spm": {},
    "bpe": {"vocabulary": "bpe"},
    "alignment of 64": {"alignment": 64},
    "rope scaling": hyperparameters(rope__scaling__type=string("yarn")),
    "experts: none of none": hyperparameters(expert_count=uint32(0), expert_used_count=uint32(0)),
    "BOS added": metadata(tokenizer__ggml__add_bos_token=boolean(True)),
    "no special tokens named": {"vocabulary": "bpe", "overrides": NO_IDS},
    "special tokens beyond the vocabulary": metadata(
        tokenizer__ggml__padding_token_id=uint32(2**32 - 1), tokenizer__ggml__bos_token_id=uint32(TOKENS_SPM)
    ),
    "no pre-tokenizer named": {"vocabulary": "bpe", "overrides": {Key.TOKENIZER_PRE: None}},
    "an empty token": tokens("spm", [*SPM_TOKENS[:-1], ""]),
    "a token with a zero byte": tokens("spm", [*SPM_TOKENS[:-1], "a\0b"]),
    "heads by layer": hyperparameters(
        attention__head_count=numbers(HEADS, HEADS), attention__head_count_kv=numbers(KV_HEADS, KV_HEADS)
    ),
    "control characters in its name": metadata(general__name=string("\x1b]0;x\x07\x1b[2Jname")),
    "a broken template": {"template": "{% for"},
    "a replacement character in its name": metadata(general__name=string("caf\ufffd")),
}
