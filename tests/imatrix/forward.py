"""A llama model computed with numpy, as far as importance matrices go: what flows into every weight.

Queries are zero, so that attention is the mean over all positions so far and rotation does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localllm.gguf_file.writer import uint32
from tests.tiny_gguf import RawTensor, build_tiny_gguf, raw_tensor

WIDTH, LAYERS, HEADS, KV_HEADS = 64, 2, 4, 2
EXPERTS, USED = 5, 2
UNREACHED = 4  # the expert no token is sent to

Array = NDArray[np.float64]


def dense_model(path: Path) -> Path:
    """Write a model of two layers without queries."""
    zero = raw_tensor(np.zeros((WIDTH, WIDTH), np.float32))
    changes = {f"blk.{layer}.attn_q.weight": zero for layer in range(LAYERS)}
    return build_tiny_gguf(path, width=WIDTH, layers=LAYERS, tensors=changes)


def routed_model(path: Path) -> Path:
    """Write a model of one layer with five experts, of which each token is sent to two of the first four.

    The router's rows are two directions and their opposites, so two of them are always positive, and zeros.
    """
    random = np.random.default_rng(7)
    one, other = random.standard_normal((2, WIDTH))
    router = np.stack([one, -one, other, -other, np.zeros(WIDTH)]).astype(np.float32)
    changes: dict[str, RawTensor | None] = {"blk.0.ffn_gate_inp.weight": raw_tensor(router)}
    changes["blk.0.attn_q.weight"] = raw_tensor(np.zeros((WIDTH, WIDTH), np.float32))
    for name in ("ffn_gate", "ffn_up", "ffn_down"):
        weights = random.standard_normal((EXPERTS, WIDTH, WIDTH)).astype(np.float32) * np.float32(0.2)
        changes |= {f"blk.0.{name}.weight": None, f"blk.0.{name}_exps.weight": raw_tensor(weights)}
    counts = {"llama.expert_count": uint32(EXPERTS), "llama.expert_used_count": uint32(USED)}
    return build_tiny_gguf(path, width=WIDTH, layers=1, tensors=changes, overrides=counts)


def expected_inputs(path: Path, chunks: Sequence[Sequence[int]]) -> dict[str, list[Array]]:
    """Return the rows that flow into every weight, shape (rows, columns) for each of its matrices."""
    weights = _read(path)
    found: dict[str, list[Array]] = {}
    for chunk in chunks:
        for name, matrices in _forward(weights, chunk).items():
            before = found.setdefault(name, [np.zeros((0, matrices[0].shape[1]))] * len(matrices))
            found[name] = [np.concatenate(pair) for pair in zip(before, matrices, strict=True)]
    return found


def _forward(weights: dict[str, Array], tokens: Sequence[int]) -> dict[str, list[Array]]:
    inputs: dict[str, list[Array]] = {}
    stream = weights["token_embd.weight"][list(tokens)]
    layer = 0
    while f"blk.{layer}.attn_norm.weight" in weights:
        own = {
            name.removeprefix(f"blk.{layer}."): value
            for name, value in weights.items()
            if name.startswith(f"blk.{layer}.")
        }
        seen: dict[str, list[Array]] = {}
        stream = stream + _attention(own, _norm(stream, own["attn_norm.weight"]), seen)
        normed = _norm(stream, own["ffn_norm.weight"])
        stream = stream + (_experts if "ffn_gate_inp.weight" in own else _feed_forward)(own, normed, seen)
        inputs |= {f"blk.{layer}.{name}": rows for name, rows in seen.items()}
        layer += 1
    inputs["output.weight"] = [_norm(stream, weights["output_norm.weight"])]
    return inputs


def _attention(own: dict[str, Array], normed: Array, seen: dict[str, list[Array]]) -> Array:
    seen |= {f"attn_{part}.weight": [normed] for part in "qkv"}
    values = normed @ own["attn_v.weight"].T
    means = np.cumsum(values, axis=0) / np.arange(1, len(values) + 1)[:, None]
    heads = np.repeat(means.reshape(len(means), KV_HEADS, -1), HEADS // KV_HEADS, axis=1)
    seen["attn_output.weight"] = [heads.reshape(len(means), -1)]
    return heads.reshape(len(means), -1) @ own["attn_output.weight"].T


def _feed_forward(own: dict[str, Array], normed: Array, seen: dict[str, list[Array]]) -> Array:
    inner = _gated(normed, own["ffn_gate.weight"], own["ffn_up.weight"])
    seen |= {"ffn_gate.weight": [normed], "ffn_up.weight": [normed], "ffn_down.weight": [inner]}
    return inner @ own["ffn_down.weight"].T


def _experts(own: dict[str, Array], normed: Array, seen: dict[str, list[Array]]) -> Array:
    seen["ffn_gate_inp.weight"] = [normed]
    scores = normed @ own["ffn_gate_inp.weight"].T
    chosen = np.argsort(-scores, axis=1)[:, :USED]
    shares = np.exp(np.take_along_axis(scores, chosen, 1))
    shares /= shares.sum(axis=1, keepdims=True)
    outer, inner, result = [], [], np.zeros_like(normed)
    for expert in range(EXPERTS):
        rows, slots = np.nonzero(chosen == expert)
        outer.append(normed[rows])
        inner.append(
            _gated(outer[-1], own["ffn_gate_exps.weight"][expert], own["ffn_up_exps.weight"][expert])
        )
        result[rows] += (inner[-1] @ own["ffn_down_exps.weight"][expert].T) * shares[rows, slots][:, None]
    seen |= {
        "ffn_gate_exps.weight": outer,
        "ffn_up_exps.weight": outer,
        "ffn_down_exps.weight": inner,
    }
    return result


def _gated(rows: Array, gate: Array, up: Array) -> Array:
    gated = rows @ gate.T
    product: Array = gated / (1 + np.exp(-gated)) * (rows @ up.T)
    return product


def _norm(rows: Array, weight: Array) -> Array:
    normed: Array = rows / np.sqrt((rows * rows).mean(axis=1, keepdims=True) + 1e-5) * weight
    return normed


def _read(path: Path) -> dict[str, Array]:
    from gguf import GGUFReader

    return {tensor.name: np.array(tensor.data, np.float64) for tensor in GGUFReader(path).tensors}
