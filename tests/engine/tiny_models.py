"""Tiny models that do not simply keep everything: with windows, with a state, with both kinds of layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import array, float32, string, uint32
from tests.conversion.tiny_families import write_tiny_family
from tests.tiny_gguf import _spm_vocabulary, build_tiny_gguf, raw_tensor, write_gguf

_WIDTH, _INNER, _STATE, _STEP, _CONVOLUTION = 64, 128, 16, 4, 4


def build_windowed(directory: Path) -> Path:
    """Write a Gemma 3 of two layers, one of which looks back over 16 tokens."""
    from localllm.assembly import Recipe
    from localllm.conversion.convert import convert

    checkpoint = write_tiny_family(directory / "gemma3", "gemma3")
    return convert(Recipe(checkpoint), output=directory / "gemma3.gguf").path


def build_mamba(path: Path, layers: int = 2) -> Path:
    """Write a Mamba with random weights: a state in place of an attention cache."""
    generator = np.random.default_rng(5)

    def random(*shape: int, scale: float = 0.3) -> np.ndarray:
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    vocabulary = _spm_vocabulary()
    rows = len(vocabulary[Key.TOKENS].value)
    tensors = {
        "token_embd.weight": random(rows, _WIDTH),
        "output_norm.weight": np.ones(_WIDTH, np.float32),
        "output.weight": random(rows, _WIDTH),
    }
    for layer in range(layers):
        prefix = f"blk.{layer}."
        tensors |= {
            prefix + "attn_norm.weight": np.ones(_WIDTH, np.float32),
            prefix + "ssm_in.weight": random(2 * _INNER, _WIDTH),
            prefix + "ssm_conv1d.weight": random(_INNER, _CONVOLUTION),
            prefix + "ssm_conv1d.bias": random(_INNER),
            prefix + "ssm_x.weight": random(_STEP + 2 * _STATE, _INNER),
            prefix + "ssm_dt.weight": random(_INNER, _STEP),
            prefix + "ssm_dt.bias": random(_INNER),
            prefix + "ssm_a": -np.abs(random(_INNER, _STATE, scale=1.0)),
            prefix + "ssm_d": random(_INNER),
            prefix + "ssm_out.weight": random(_WIDTH, _INNER),
        }
    metadata = {
        Key.ARCHITECTURE: string("mamba"),
        Key.NAME: string("tiny mamba"),
        "mamba.context_length": uint32(512),
        "mamba.embedding_length": uint32(_WIDTH),
        "mamba.feed_forward_length": uint32(0),
        "mamba.block_count": uint32(layers),
        "mamba.attention.head_count": uint32(0),
        "mamba.attention.layer_norm_rms_epsilon": float32(1e-5),
        "mamba.ssm.conv_kernel": uint32(_CONVOLUTION),
        "mamba.ssm.inner_size": uint32(_INNER),
        "mamba.ssm.state_size": uint32(_STATE),
        "mamba.ssm.time_step_rank": uint32(_STEP),
        **vocabulary,
    }
    write_gguf(path, metadata, {name: raw_tensor(values) for name, values in tensors.items()})
    return path


def build_hybrid(path: Path, layers: int = 4) -> Path:
    """Write an LFM2 with random weights: every other layer attends, the others keep a state."""
    generator = np.random.default_rng(6)

    def random(*shape: int) -> np.ndarray:
        return (generator.standard_normal(shape) * 0.3).astype(np.float32)

    vocabulary = _spm_vocabulary()
    rows = len(vocabulary[Key.TOKENS].value)
    head = _WIDTH // 4
    tensors = {
        "token_embd.weight": random(rows, _WIDTH),
        "token_embd_norm.weight": np.ones(_WIDTH, np.float32),
        "output.weight": random(rows, _WIDTH),
    }
    for layer in range(layers):
        prefix = f"blk.{layer}."
        tensors |= {
            prefix + "attn_norm.weight": np.ones(_WIDTH, np.float32),
            prefix + "ffn_norm.weight": np.ones(_WIDTH, np.float32),
            prefix + "ffn_gate.weight": random(_INNER, _WIDTH),
            prefix + "ffn_up.weight": random(_INNER, _WIDTH),
            prefix + "ffn_down.weight": random(_WIDTH, _INNER),
        }
        if layer % 2:
            tensors |= {
                prefix + "attn_q_norm.weight": np.ones(head, np.float32),
                prefix + "attn_k_norm.weight": np.ones(head, np.float32),
                prefix + "attn_q.weight": random(_WIDTH, _WIDTH),
                prefix + "attn_k.weight": random(2 * head, _WIDTH),
                prefix + "attn_v.weight": random(2 * head, _WIDTH),
                prefix + "attn_output.weight": random(_WIDTH, _WIDTH),
            }
        else:
            tensors |= {
                prefix + "shortconv.conv.weight": random(_WIDTH, 3),
                prefix + "shortconv.in_proj.weight": random(3 * _WIDTH, _WIDTH),
                prefix + "shortconv.out_proj.weight": random(_WIDTH, _WIDTH),
            }
    metadata = {
        Key.ARCHITECTURE: string("lfm2"),
        Key.NAME: string("tiny hybrid"),
        "lfm2.context_length": uint32(512),
        "lfm2.embedding_length": uint32(_WIDTH),
        "lfm2.feed_forward_length": uint32(_INNER),
        "lfm2.block_count": uint32(layers),
        "lfm2.vocab_size": uint32(rows),
        "lfm2.attention.head_count": uint32(4),
        "lfm2.attention.head_count_kv": array(ValueType.INT32, [2 * (layer % 2) for layer in range(layers)]),
        "lfm2.attention.layer_norm_rms_epsilon": float32(1e-5),
        "lfm2.rope.freq_base": float32(10000.0),
        "lfm2.shortconv.l_cache": uint32(3),
        **vocabulary,
    }
    write_gguf(path, metadata, {name: raw_tensor(values) for name, values in tensors.items()})
    return path


def build_loud(path: Path) -> Path:
    """Write a llama with random weights whose likeliest token is never a near tie."""
    generator = np.random.default_rng(9)
    output = (generator.standard_normal((277, 256)) * 2).astype(np.float32)
    return build_tiny_gguf(path, tensors={"output.weight": raw_tensor(output)})
