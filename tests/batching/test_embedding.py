"""Vectors of texts are llama.cpp's own pooled ones at length 1, in chunks or at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from localllm.batching import BatchedEngine
from localllm.engine import EngineOptions
from localllm.errors import PromptTooLongError, UsageError
from localllm.gguf_file.format import Key
from localllm.gguf_file.writer import boolean, float32, string, uint32
from localllm.native.context import Context, Piece
from tests.batching.asking import ask
from tests.tiny_gguf import _spm_vocabulary, build_tiny_gguf, raw_tensor, write_gguf

TEXTS = ("hello world", "a", "the quick brown fox jumps over the lazy dog " * 30)
POOLINGS = {1: "mean", 2: "cls", 3: "last"}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_llama_cpp(tmp_path: Path, pooling: int) -> None:
    path = build_tiny_gguf(
        tmp_path / "m.gguf",
        width=64,
        overrides={"llama.pooling_type": uint32(pooling), "llama.context_length": uint32(2048)},
    )
    exact = EngineOptions(context=2048, cache_type_k="f32", cache_type_v="f32", flash_attention="off")
    with BatchedEngine(path, exact, parallel=1) as engine:
        assert engine.pooling == POOLINGS[pooling]
        prompts = [engine.embedding_prompt(text) for text in TEXTS]
        assert len(prompts[2]) > 600  # more than a chunk
        found = engine.embed(prompts)
        assert found.tokens == sum(map(len, prompts))
        for prompt, vector in zip(prompts, found.vectors, strict=True):
            assert len(vector) == engine.embedding_size == 64
            with Context(
                engine._loaded.model,
                context_size=2048,
                threads=1,
                batch_size=2048,
                embeddings=True,
                exact=True,
                pooling=pooling,
            ) as context:
                context.decode_pieces([Piece(0, 0, prompt, 0)])
                own = context.sequence_embedding(0).copy()
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            expected = own / np.linalg.norm(own)
            assert vector == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_chat_model_gives_the_mean_while_it_answers(engine: BatchedEngine) -> None:
    prompts = [engine.embedding_prompt(text) for text in ("a cat", "a kitten", "quantization levels")]
    assert engine.pooling == "mean"
    found: list[list[list[float]]] = []
    threads = [threading.Thread(target=lambda: found.append(engine.embed(prompts).vectors)) for _ in range(3)]
    for thread in threads:
        thread.start()
    answers = [ask(engine, "Who are you?") for _ in range(3)]
    for thread in threads:
        thread.join(60)
    assert all(client.wait().text for client in answers)
    assert len(found) == 3
    assert np.allclose(found[0], found[1], atol=1e-6)
    assert np.allclose(found[0], found[2], atol=1e-6)
    alone = engine.embed(prompts[:1]).vectors
    assert alone[0] == pytest.approx(found[0][0], abs=2e-3)


def test_what_cannot_be_embedded(engine: BatchedEngine, tmp_path: Path) -> None:
    assert engine.embed([]).vectors == []
    with pytest.raises(PromptTooLongError):
        engine.embed([[1] * (engine.context_size + 1)])
    with pytest.raises(UsageError, match="is not a token"):
        engine.embed([[-1]])


def build_bert(path: Path, pooling: int) -> Path:
    """Write a BERT of one layer with random weights, and Llama's vocabulary."""
    generator = np.random.default_rng(4)
    width, inner, positions = 32, 64, 128
    vocabulary = _spm_vocabulary()
    rows = len(vocabulary[Key.TOKENS].value)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (rows, width),
        "position_embd.weight": (positions, width),
        "token_types.weight": (2, width),
    }
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes |= {f"blk.0.{name}.weight": (width, width), f"blk.0.{name}.bias": (width,)}
    shapes |= {"blk.0.ffn_up.weight": (inner, width), "blk.0.ffn_up.bias": (inner,)}
    shapes |= {"blk.0.ffn_down.weight": (width, inner), "blk.0.ffn_down.bias": (width,)}
    metadata = {
        Key.ARCHITECTURE: string("bert"),
        Key.NAME: string("tiny bert"),
        "bert.context_length": uint32(positions),
        "bert.embedding_length": uint32(width),
        "bert.feed_forward_length": uint32(inner),
        "bert.block_count": uint32(1),
        "bert.attention.head_count": uint32(4),
        "bert.attention.layer_norm_epsilon": float32(1e-12),
        "bert.attention.causal": boolean(False),
        "bert.pooling_type": uint32(pooling),
        **vocabulary,
        "tokenizer.ggml.token_type_count": uint32(2),
    }
    weights = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    write_gguf(path, metadata, {name: raw_tensor(values) for name, values in weights.items()})
    return path


@pytest.mark.parametrize("pooling", [1, 2])
def test_a_model_that_looks_both_ways_embeds_and_does_not_answer(tmp_path: Path, pooling: int) -> None:
    with BatchedEngine(build_bert(tmp_path / "bert.gguf", pooling), parallel=2) as engine:
        prompts = [engine.embedding_prompt(text) for text in ("abc", "a cab", "bad", "dab " * 20)]
        together = engine.embed(prompts).vectors
        alone = [engine.embed([prompt]).vectors[0] for prompt in prompts]
        assert np.allclose(together, alone, atol=1e-3)
        assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
        assert not np.allclose(together[0], together[1], atol=0.05)
        assert not engine.can_generate
        with pytest.raises(UsageError, match="does not answer"):
            ask(engine, prompts[0])
        with pytest.raises(PromptTooLongError):
            engine.embed([prompts[3] * 10])


def test_a_model_that_ranks_makes_no_vectors(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "m.gguf", width=64, overrides={"llama.pooling_type": uint32(4)})
    with BatchedEngine(path, parallel=1) as engine:
        assert engine.pooling is None
        with pytest.raises(UsageError, match="ranks texts"):
            engine.embed([[1]])
