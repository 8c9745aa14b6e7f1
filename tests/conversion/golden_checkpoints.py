"""The tiny checkpoints whose conversion is held against the reference's, by name of the golden file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from localllm.checkpoint import read_safetensors
from tests.conversion import tiny_mtp
from tests.conversion.tiny_families import FAMILIES, write_tiny_family
from tests.conversion.tiny_llama import (
    LLAMA3_ROPE,
    TinyLlama,
    edit_json,
    tiny_tensors,
    write_safetensors,
    write_tiny_llama,
)
from tests.conversion.tiny_tokenizer import ADDED, BOS, EOS

CARD = """---
license: apache-2.0
language: [en, de]
tags: [stories, "tiny"]
pipeline_tag: text-generation
base_model: some-org/Base-Model-1B
datasets: [some-org/some-data]
---
# A card
"""
HOSTILE_CARD = f"""---
model_name: "Tiny \\e[31mred"
description: "{"long " * 4000}"
author: someone
version: v1.5
---
"""
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32.0}


def plain(directory: Path) -> Path:
    """Float32, an output head of its own, biases everywhere; rows of 80 that q8_0 cannot hold."""
    return write_tiny_llama(directory, TinyLlama(tied=False, biases=True, intermediate=80))


def llama3(directory: Path) -> Path:
    """Bfloat16 in three shards, Llama 3's rope scaling, tokenizer and BOS, config.json of transformers 5."""
    spec = TinyLlama("BF16", shards=3, rope=LLAMA3_ROPE, transformers=5, pre="llama-bpe", adds_bos=True)
    return write_tiny_llama(directory, spec)


def mistral(directory: Path) -> Path:
    """Float16 Mistral with yarn scaling, a model card, a tied head saved twice and two chat templates."""
    spec = TinyLlama("F16", rope=_YARN, seed=7)
    tensors = tiny_tensors(spec)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    write_tiny_llama(directory, spec, tensors)
    edit_json(directory / "config.json", architectures=["MistralForCausalLM"], model_type="mistral")
    edit_json(directory / "tokenizer_config.json", chat_template="{{ messages }}", add_bos_token=True)
    edit_json(directory / "generation_config.json", repetition_penalty=1.1, min_p=0.05)
    (directory / "README.md").write_text(CARD, encoding="utf-8", newline="\n")
    return directory


def careless(directory: Path) -> Path:
    """Special tokens named in odd places, two chat templates, a model card nobody checked."""
    write_tiny_llama(directory, TinyLlama("BF16", seed=8))
    (directory / "chat_template.jinja").unlink()
    (directory / "README.md").write_text(HOSTILE_CARD, encoding="utf-8", newline="\n")
    names = ("default", "tool use")
    templates = [{"name": name, "template": "{{ messages }} " + name} for name in names]
    special = {"bos_token": None, "eos_token": "Hello", "unk_token": "the", "pad_token": ADDED}
    edit_json(directory / "tokenizer_config.json", chat_template=templates, **special)
    edit_json(directory / "config.json", bos_token_id=None, eos_token_id=[EOS, BOS])
    return directory


def mxfp4(directory: Path) -> Path:
    """gpt-oss as it is published: experts in four bits, every other row of the gate or the up projection."""
    write_tiny_family(directory, "gpt-oss")
    path = directory / "model.safetensors"
    tensors = {tensor.name: (tensor.dtype, tensor.read_array()) for tensor in read_safetensors(path)}
    bits = np.random.PCG64(11)
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, columns, rows = tensors.pop(name)[1].shape
        codes = bits.random_raw(experts * rows * columns // 2).astype("u1")
        tensors[f"{name}_blocks"] = ("U8", codes.reshape(experts, rows, columns // 32, 16))
        scales = (bits.random_raw(experts * rows * columns // 32) % 8 + 118).astype("u1")
        tensors[f"{name}_scales"] = ("U8", scales.reshape(experts, rows, columns // 32))
    write_safetensors(path, tensors)
    edit_json(directory / "config.json", quantization_config={"quant_method": "mxfp4"})
    return directory


TINY: dict[str, Callable[[Path], Path]] = {
    "tiny-llama": plain,
    "tiny-llama3": llama3,
    "tiny-mistral-v0.2-instruct": mistral,
    "tiny-careless": careless,
    "tiny-gpt-oss-mxfp4": mxfp4,
    **{
        f"tiny-{name}": partial(write_tiny_family, name=name)
        for name, family in FAMILIES.items()
        if not family.reference_fails
    },
}
# the reference converts these with transformers 5 alone, all others with 4.57.6
NEED_TRANSFORMERS_5 = {f"tiny-{name}" for name, family in FAMILIES.items() if family.pairs}
MTP: dict[str, Callable[[Path], Path]] = {
    f"tiny-{name}-mtp": partial(tiny_mtp.write_tiny_mtp, name=name)
    for name in tiny_mtp.MTP
    if name not in tiny_mtp.REFERENCE_DROPS
}
