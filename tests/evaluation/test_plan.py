"""How many chunks are decoded at once, and in which steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.evaluation.plan import first_scored, plan, scored_per_chunk


@pytest.mark.parametrize(
    ("context_size", "chunks", "vocabulary", "together", "step"),
    [
        (512, 10, 32_000, 4, 512),
        (512, 2, 32_000, 2, 512),
        (128, 100, 2048, 16, 128),
        (512, 10, 150_000, 1, 512),
        (4096, 10, 32_000, 1, 2048),
        (4096, 10, 150_000, 1, 384),
    ],
)
def test_known_plans(context_size: int, chunks: int, vocabulary: int, together: int, step: int) -> None:
    found = plan(context_size, chunks, vocabulary)
    assert (found.together, found.step) == (together, step)


def test_llama_perplexitys_numbers() -> None:
    assert (first_scored(512), scored_per_chunk(512)) == (256, 255)
    assert (first_scored(9), scored_per_chunk(9)) == (4, 4)


@given(st.integers(8, 10_000), st.integers(1, 50), st.integers(2, 300_000))
def test_every_position_once_within_the_bounds(context_size: int, chunks: int, vocabulary: int) -> None:
    found = plan(context_size, chunks, vocabulary)
    assert [position for step in found.steps() for position in step] == list(range(context_size))
    assert 1 <= found.together <= chunks
    assert found.batch_tokens <= max(2048, 64)
    wanted = context_size - first_scored(context_size)
    logits_bytes = 4 * vocabulary * found.together * min(found.step, wanted)
    assert logits_bytes <= max(256 * 2**20, 4 * vocabulary * 64)
