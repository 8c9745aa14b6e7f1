"""Files that kill llama.cpp are refused with their reason, and what is accepted does not kill it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.errors import InvalidGGUFError
from localllm.gguf_file import TypedValue, read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.preflight import require_loadable
from localllm.gguf_file.writer import array, boolean, float32, string, uint32
from tests.gguf_file.loading import killers
from tests.gguf_file.raw import MemorySource, gguf_bytes, text_pair
from tests.tiny_gguf import RawTensor, build_tiny_gguf, raw_tensor

WIDTH = 64
ONES = np.ones(WIDTH, np.float32)
TOKENS_SPM = 277
NO_IDS = {f"tokenizer.ggml.{kind}_token_id": None for kind in ("bos", "eos", "unknown")}


def hyperparameters(**values: TypedValue | None) -> dict[str, Any]:
    """Override `llama.…` keys; `__` stands for a dot."""
    return {"overrides": {f"llama.{name.replace('__', '.')}": value for name, value in values.items()}}


def metadata(**values: TypedValue | None) -> dict[str, Any]:
    return {"overrides": {name.replace("__", "."): value for name, value in values.items()}}


def stored_as(name: str, kind: str, *shape: int) -> dict[str, Any]:
    """Replace a tensor by zeros of another type."""
    size = TENSOR_TYPES_BY_NAME[kind].row_bytes(shape[0]) * math.prod(shape[1:])
    return {"tensors": {name: RawTensor(TENSOR_TYPES_BY_NAME[kind], shape, bytes(size))}}


def tokens(vocabulary: str, texts: list[str]) -> dict[str, Any]:
    return {"vocabulary": vocabulary, "overrides": {Key.TOKENS: array(ValueType.STRING, texts)}}


# what llama.cpp dies of, at load, when tokenizing or at the first token; each with our reason
DEADLY: dict[str, tuple[dict[str, Any], str]] = {
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
        hyperparameters(expert_used_count=array(ValueType.UINT32, [1, 1])),
        "use 1 of 0 experts",
    ),
    "too many experts": (
        hyperparameters(expert_count=uint32(1025), expert_used_count=uint32(2)),
        "2 of 1025 experts",
    ),
    "expert groups without experts": (hyperparameters(expert_group_count=uint32(2)), "0 of 2 groups"),
    "an architecture without its experts": (
        metadata(general__architecture=string("smallthinker")),
        "no experts, which smallthinker models need",
    ),
    "more predicted layers than layers": (
        hyperparameters(nextn_predict_layers=uint32(9)),
        "9 prediction layers of",
    ),
    "the same token twice (spm)": (tokens("spm", ["a"] * TOKENS_SPM), "'a' appears twice in its vocabulary"),
    "the same token twice (bpe)": (tokens("bpe", ["a", "b", "a"]), "'a' appears twice in its vocabulary"),
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
            "vocabulary": "bpe",
            "overrides": {
                Key.TOKENIZER_MODEL: string("rwkv"),
                "tokenizer.ggml.add_bos_token": boolean(True),
                **NO_IDS,
            },
        },
        "adds a bos token but does not say which",
    ),
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
    "norm as F16 with two dimensions": (stored_as("output_norm.weight", "F16", WIDTH, 1), "instead of F32"),
    "bias as BF16": (stored_as("blk.0.attn_q.bias", "BF16", WIDTH), "BF16 instead of F32"),
    "rope factors as F16": (stored_as("rope_freqs.weight", "F16", WIDTH // 8), "F16 instead of F32"),
    "embeddings as I32": (stored_as("token_embd.weight", "I32", WIDTH, TOKENS_SPM), "not a weight type"),
    "weights as F64": (stored_as("blk.0.attn_q.weight", "F64", WIDTH, WIDTH), "not a weight type"),
    "endless context": (
        hyperparameters(context_length=uint32(2**32 - 1)),
        "claims a context of 4294967295 tokens",
    ),
    "BOS outside the vocabulary": (
        metadata(tokenizer__ggml__bos_token_id=uint32(TOKENS_SPM)),
        "its bos token 277 is outside the vocabulary of 277",
    ),
    "vocabulary of numbers": (
        {"overrides": {Key.TOKENS: array(ValueType.INT32, list(range(TOKENS_SPM)))}},
        "vocabulary is not a list of texts",
    ),
    "no architecture": (metadata(general__architecture=None), "which architecture"),
}


def build(path: Path, changes: dict[str, Any]) -> Path:
    return build_tiny_gguf(path, width=WIDTH, layers=1, **changes)


@pytest.mark.parametrize("name", DEADLY)
def test_what_kills_llama_cpp_is_refused(name: str, tmp_path: Path) -> None:
    changes, reason = DEADLY[name]
    header = read_header(build(tmp_path / "deadly.gguf", changes))
    with pytest.raises(InvalidGGUFError, match=reason) as caught:
        require_loadable(header, "the file")
    assert caught.value.message.startswith("the file: ")


def test_text_that_is_not_utf8_is_refused() -> None:
    header = read_header(
        MemorySource(
            gguf_bytes([text_pair(b"general.architecture", b"llama"), text_pair(b"general.name", b"\xff")])
        )
    )
    with pytest.raises(InvalidGGUFError, match=r"`general\.name` is not valid UTF-8"):
        require_loadable(header, "the file")


def test_sound_models_are_accepted_and_load(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"vocabulary": "bpe"},
        {"alignment": 64},
        hyperparameters(rope__scaling__type=string("yarn")),
        hyperparameters(expert_count=uint32(0), expert_used_count=uint32(0)),
        metadata(tokenizer__ggml__add_bos_token=boolean(True)),
        {"vocabulary": "bpe", "overrides": NO_IDS},
    ]
    paths = [build(tmp_path / f"{index}.gguf", changes) for index, changes in enumerate(variants)]
    for path in paths:
        require_loadable(read_header(path), path.name)
    assert killers(paths) == ({}, len(paths))


def test_real_files_are_accepted(material: Path) -> None:
    for path in (material / "weights" / "gguf-fixtures-gridcore").glob("*.gguf"):
        require_loadable(read_header(path), path.name)


def damaged(data: bytes, end: int, generator: random.Random) -> bytes:
    """Change one to three bytes of the header, mostly outside the long lists of the vocabulary."""
    changed = bytearray(data)
    lists = range(data.index(b"tokenizer.ggml.tokens") + 40, data.index(b"tokenizer.ggml.bos_token_id"))
    for _ in range(generator.randint(1, 3)):
        position = generator.randrange(end)
        while position in lists and generator.random() < 0.9:
            position = generator.randrange(end)
        changed[position] = generator.choice([0, 1, 0xFF, changed[position] ^ 1, generator.randrange(256)])
    return bytes(changed)


def accepted(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` damaged copies that reader and preflight let through."""
    end = read_header(MemorySource(data)).data_offset
    generator = random.Random(seed)
    while count:
        candidate = damaged(data, end, generator)
        try:
            require_loadable(read_header(MemorySource(candidate)), "candidate")
        except InvalidGGUFError:
            continue
        count -= 1
        yield candidate


@pytest.mark.parametrize("vocabulary", ["spm", "bpe"])
def test_accepted_damage_does_not_kill_llama_cpp(vocabulary: str, tmp_path: Path) -> None:
    base = build_tiny_gguf(tmp_path / "base.gguf", width=32, layers=1, vocabulary=vocabulary).read_bytes()
    paths = []
    for index, data in enumerate(accepted(base, 75, seed=3)):
        paths.append(tmp_path / f"{index}.gguf")
        paths[-1].write_bytes(data)
    found, survived = killers(paths)
    assert found == {}
    assert survived >= 10
