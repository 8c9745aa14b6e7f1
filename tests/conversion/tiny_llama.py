"""Tiny Llama checkpoints in Hugging Face's layout, made with numpy alone, the same on every machine.

Two layers, 64 wide, 4 query and 2 key-value heads of size 32 (not 64 / 4), 288 embedding rows for a tokenizer
of fewer. The weights come from the raw bits of PCG64, whose stream numpy guarantees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.conversion.tiny_tokenizer import BOS, EOS, SPECIALS, tiny_tokenizer

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, ROWS = 2, 64, 4, 2, 32, 288
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
TEMPLATE = "{% for message in messages %}{{ message.content }}<|im_end|>\n{% endfor %}"
_TORCH_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TinyLlama:
    """What a checkpoint looks like; `transformers` is the version whose config.json spelling is used."""

    dtype: str = "F32"
    tied: bool = True
    biases: bool = False
    shards: int = 1
    intermediate: int = 96
    rope: Mapping[str, Any] | None = None
    transformers: int = 4
    pre: str = "qwen2"
    adds_bos: bool = False
    seed: int = 20261124


DEFAULT = TinyLlama()


def write_tiny_llama(
    directory: Path, spec: TinyLlama = DEFAULT, tensors: Mapping[str, NDArray[Any]] | None = None
) -> Path:
    """Write the checkpoint `spec` describes, with its own weights or with `tensors`; return `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "config.json", tiny_config(spec))
    generation = {
        "bos_token_id": BOS,
        "eos_token_id": [EOS, BOS],
        "temperature": 0.6,
        "top_k": 40,
        "top_p": 0.9,
    }
    write_json(directory / "generation_config.json", generation)
    write_json(directory / "tokenizer.json", tiny_tokenizer(spec.pre, adds_bos=spec.adds_bos))
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIALS[0],
        "eos_token": SPECIALS[1],
    }
    write_json(directory / "tokenizer_config.json", tokenizer)
    (directory / "chat_template.jinja").write_bytes(TEMPLATE.encode())
    write_weights(directory, tiny_tensors(spec) if tensors is None else tensors, spec)
    return directory


def tiny_config(spec: TinyLlama = DEFAULT) -> dict[str, Any]:
    """Return config.json as transformers 4 or 5 would spell it."""
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": ROWS,
        "hidden_size": HIDDEN,
        "intermediate_size": spec.intermediate,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": spec.biases,
        "mlp_bias": spec.biases,
        "tie_word_embeddings": spec.tied,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }
    dtype = _TORCH_DTYPES.get(spec.dtype, "float32")
    if spec.transformers == 4:
        return config | {"rope_theta": 50000.0, "rope_scaling": spec.rope, "torch_dtype": dtype}
    rope = {"rope_theta": 50000.0, **(spec.rope or {"rope_type": "default"})}
    return config | {"rope_parameters": rope, "dtype": dtype}


def tiny_tensors(spec: TinyLlama = DEFAULT) -> Tensors:
    """Return the float32 weights by checkpoint name: norms around 1, everything else around 0."""
    bits = np.random.PCG64(spec.seed)
    return {
        name: draw_weights(bits, shape) + np.float32(name.endswith("norm.weight"))
        for name, shape in _shapes(spec)
    }


def write_weights(directory: Path, tensors: Mapping[str, NDArray[Any]], spec: TinyLlama = DEFAULT) -> None:
    """Write `tensors` as `spec.dtype` into `spec.shards` files, with an index when there are several."""
    encoded = {name: (spec.dtype, cast(values, spec.dtype)) for name, values in tensors.items()}
    if spec.shards == 1:
        write_safetensors(directory / "model.safetensors", encoded)
        return
    files = [f"model-{i + 1:05d}-of-{spec.shards:05d}.safetensors" for i in range(spec.shards)]
    weight_map = {name: files[index % spec.shards] for index, name in enumerate(encoded)}
    for file in files:
        chosen = {name: value for name, value in encoded.items() if weight_map[name] == file}
        write_safetensors(directory / file, chosen)
    write_json(directory / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    """Write arrays under the safetensors dtype named beside them, in the order given."""
    header: dict[str, Any] = {}
    offset = 0
    for name, (dtype, values) in tensors.items():
        end = offset + values.nbytes
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    data = b"".join(values.tobytes() for _, values in tensors.values())
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def cast(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Convert float32 to a safetensors dtype; bfloat16 rounds to nearest even and is held as uint16."""
    if dtype == "BF16":
        bits = values.astype("<f4").view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "i1"}[dtype])


def edit_json(path: Path, **changes: Any) -> None:
    """Change entries of a JSON object on disk; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content.update(changes)
    write_json(path, {key: value for key, value in content.items() if value is not None})


def _shapes(spec: TinyLlama) -> Iterator[tuple[str, tuple[int, ...]]]:
    query, key = HEADS * HEAD_SIZE, KV_HEADS * HEAD_SIZE
    matrices = {
        "self_attn.q_proj": (query, HIDDEN),
        "self_attn.k_proj": (key, HIDDEN),
        "self_attn.v_proj": (key, HIDDEN),
        "self_attn.o_proj": (HIDDEN, query),
        "mlp.gate_proj": (spec.intermediate, HIDDEN),
        "mlp.up_proj": (spec.intermediate, HIDDEN),
        "mlp.down_proj": (HIDDEN, spec.intermediate),
    }
    yield "model.embed_tokens.weight", (ROWS, HIDDEN)
    for layer in range(LAYERS):
        for name, shape in matrices.items():
            yield f"model.layers.{layer}.{name}.weight", shape
            if spec.biases:
                yield f"model.layers.{layer}.{name}.bias", shape[:1]
        yield f"model.layers.{layer}.input_layernorm.weight", (HIDDEN,)
        yield f"model.layers.{layer}.post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    if not spec.tied:
        yield "lm_head.weight", (ROWS, HIDDEN)


def draw_weights(bits: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw numbers in [-0.25, 0.25) with 24 bits, exact in float32."""
    raw = bits.random_raw(math.prod(shape)) >> np.uint64(40)
    return (raw.astype(np.float32) / np.float32(2**25) - np.float32(0.25)).reshape(shape)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
