"""Seeded LoRA adapters of every kind, for the tiny checkpoints, as PEFT saves them.

Made with numpy alone. `scripts/check_adapters.py` has PEFT load and merge each of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.conversion.tiny_families import shapes, write_tiny_family
from tests.conversion.tiny_llama import (
    ROWS,
    Tensors,
    TinyLlama,
    cast,
    draw_weights,
    tiny_tensors,
    write_json,
    write_safetensors,
    write_tiny_llama,
)

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_LINEAR = (*_ATTENTION, "gate_proj", "up_proj", "down_proj")
_SETTINGS: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "base",
    "r": 4,
    "lora_alpha": 12,
    "lora_dropout": 0.0,
    "bias": "none",
    "inference_mode": True,
}


@dataclass(frozen=True)
class TinyAdapter:
    """An adapter: its base, the modules it adapts, and what else it holds.

    `saved` maps parameter names to shapes (whole tensors), `ranks` module endings to ranks other than
    `r`. `dtype` is the stored one.
    """

    modules: tuple[str, ...] = _LINEAR
    settings: Mapping[str, Any] = field(default_factory=dict)
    family: str | None = None
    tied: bool = False
    saved: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    dtype: str = "F32"
    merges_like_peft: bool = True

    def write_base(self, directory: Path) -> Path:
        """Write the checkpoint the adapter belongs to."""
        if self.family:
            return write_tiny_family(directory, self.family)
        return write_tiny_llama(directory, TinyLlama(tied=self.tied, biases="bias" in self.settings))

    def base_shapes(self) -> dict[str, tuple[int, ...]]:
        if self.family:
            return {name: tuple(shape) for name, shape in shapes(self.family).items()}
        spec = TinyLlama(tied=self.tied, biases="bias" in self.settings)
        found = {name: values.shape for name, values in tiny_tensors(spec).items()}
        return found | {"lm_head.weight": (ROWS, 64)}  # a tied head can be adapted, too

    def config(self) -> dict[str, Any]:
        return {**_SETTINGS, "target_modules": list(self.modules), **self.settings}


PLAIN = TinyAdapter()
ADAPTERS: dict[str, TinyAdapter] = {
    "plain": PLAIN,
    "bf16": replace(PLAIN, dtype="BF16"),
    "rslora": replace(PLAIN, settings={"use_rslora": True}),
    "patterns": replace(
        PLAIN,
        settings={
            "rank_pattern": {"down_proj": 2, "layers.1.self_attn.q_proj": 7},
            "alpha_pattern": {r"self_attn\.v_proj": 3, "model.layers.0.mlp.up_proj": 40},
            "use_rslora": True,
        },
        ranks={"down_proj": 2, "layers.1.self_attn.q_proj": 7},
    ),
    "dora": replace(PLAIN, settings={"use_dora": True}),
    "embedding": TinyAdapter(("q_proj", "embed_tokens", "lm_head")),
    "saved": TinyAdapter(
        _ATTENTION,
        {"modules_to_save": ["embed_tokens", "lm_head", "model.norm"]},
        saved={
            "model.embed_tokens.weight": (ROWS, 64),
            "lm_head.weight": (ROWS, 64),
            "model.norm.weight": (64,),
        },
    ),
    "tied-head": TinyAdapter(("v_proj", "lm_head"), tied=True, merges_like_peft=False),
    "tied-embedding": TinyAdapter(("v_proj", "embed_tokens"), tied=True, merges_like_peft=False),
    "tied-saved": TinyAdapter(
        ("v_proj",),
        {"modules_to_save": ["embed_tokens"]},
        tied=True,
        saved={"model.embed_tokens.weight": (ROWS, 64)},
        merges_like_peft=False,
    ),
    "tokens": TinyAdapter(("v_proj",), {"trainable_token_indices": [5, 61, 120]}),
    "biases": TinyAdapter(
        ("q_proj", "v_proj"),
        {"bias": "all"},
        saved={
            f"model.layers.{layer}.self_attn.{name}.base_layer.bias": (size,)
            for layer in (0, 1)
            for name, size in (("q_proj", 128), ("v_proj", 64))
        },
    ),
    "lora-bias": TinyAdapter(("q_proj", "down_proj"), {"bias": "none", "lora_bias": True}),
    "gpt2": TinyAdapter(("c_attn", "c_proj"), {"fan_in_fan_out": True}, family="gpt2"),
    "gpt2-dora": TinyAdapter(("c_attn", "c_fc"), {"fan_in_fan_out": True, "use_dora": True}, family="gpt2"),
    "gpt-neox": TinyAdapter(("query_key_value", "dense_h_to_4h"), family="gpt-neox"),
    "phi3": TinyAdapter(("qkv_proj", "gate_up_proj"), family="phi3"),
    "qwen2-moe": TinyAdapter(("q_proj", "gate_proj", "up_proj", "down_proj"), family="qwen2-moe"),
    "gemma3": TinyAdapter(_LINEAR, family="gemma3"),
}


def write_tiny_adapter(directory: Path, adapter: TinyAdapter, seed: str = "adapter") -> Path:
    """Write adapter_config.json and adapter_model.safetensors; return `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "adapter_config.json", adapter.config())
    encoded = {
        f"base_model.model.{name}": (adapter.dtype, cast(values, adapter.dtype))
        for name, values in adapter_tensors(adapter, seed).items()
    }
    write_safetensors(directory / "adapter_model.safetensors", encoded)
    return directory


def adapter_tensors(adapter: TinyAdapter, seed: str = "adapter") -> Tensors:
    """Return the adapter's tensors by name, without PEFT's prefix."""
    bits = np.random.PCG64(zlib.crc32(seed.encode()))
    return {name: _offset(name) + draw_weights(bits, shape) for name, shape in _shapes(adapter)}


def _offset(name: str) -> np.float32:
    """Magnitudes and norms are far from zero."""
    return np.float32(1.5 if "magnitude" in name or "norm" in name else 0)


def _shapes(adapter: TinyAdapter) -> Iterator[tuple[str, tuple[int, ...]]]:
    names = {
        name.removesuffix(".weight"): shape
        for name, shape in adapter.base_shapes().items()
        if name.endswith(tuple(f"{module}.weight" for module in adapter.modules))
    }
    for module, shape in names.items():
        rank = next((rank for end, rank in adapter.ranks.items() if module.endswith(end)), 4)
        yield from _module_shapes(adapter, module, shape, rank)
    yield from adapter.saved.items()
    if "trainable_token_indices" in adapter.settings:
        count = len(adapter.settings["trainable_token_indices"])
        yield "model.embed_tokens.token_adapter.trainable_tokens_delta", (count, 64)


def _module_shapes(
    adapter: TinyAdapter, module: str, shape: tuple[int, ...], rank: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    out, inner = shape if not adapter.settings.get("fan_in_fan_out") else tuple(reversed(shape))
    if module.endswith(("embed_tokens", "embeddings")):
        yield f"{module}.lora_embedding_A", (rank, out)
        yield f"{module}.lora_embedding_B", (inner, rank)
        return
    yield f"{module}.lora_A.weight", (rank, inner)
    yield f"{module}.lora_B.weight", (out, rank)
    if adapter.settings.get("use_dora"):
        yield f"{module}.lora_magnitude_vector", (out,)
    if adapter.settings.get("lora_bias"):
        yield f"{module}.lora_B.bias", (out,)
