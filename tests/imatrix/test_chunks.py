"""How texts are cut, and what goes through the model together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localllm.imatrix.chunks import BATCH_TOKENS, cut, passes, plan
from localllm.native.activations import FEWEST_ROWS


def test_one_text_is_cut_as_llama_imatrix_does() -> None:
    assert cut([range(11)], 4) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_bos_replaces_the_first_token_of_each_chunk() -> None:
    assert cut([range(11)], 4, bos=99) == [[99, 1, 2, 3], [99, 5, 6, 7]]


def test_several_texts_take_turns_and_what_is_left_over_is_cut_too() -> None:
    texts = [range(10), range(100, 105), range(200, 203)]
    assert cut(texts, 4) == [
        [0, 1, 2, 3],
        [100, 101, 102, 103],
        [4, 5, 6, 7],
        [8, 9, 104, 200],
    ]


def test_texts_too_short_for_a_chunk() -> None:
    assert cut([range(3)], 4) == []
    assert cut([], 4) == []


@given(st.lists(st.integers(0, 60).map(range), max_size=4), st.integers(1, 20))
def test_nothing_but_one_end_is_lost(texts: list[range], size: int) -> None:
    chunks = cut(texts, size)
    assert {len(chunk) for chunk in chunks} <= {size}
    assert len(chunks) == sum(map(len, texts)) // size


@given(st.integers(FEWEST_ROWS, 5000), st.integers(1, 50))
def test_every_step_fits_and_counts(context_size: int, chunks: int) -> None:
    how = plan(context_size, chunks)
    assert how.together * how.step <= BATCH_TOKENS
    assert 1 <= how.together <= chunks
    last = context_size % how.step or how.step
    assert last >= FEWEST_ROWS


def test_chunks_of_usual_sizes() -> None:
    assert (plan(512, 100).together, plan(512, 100).step) == (1, 512)
    assert (plan(128, 100).together, plan(128, 100).step) == (4, 128)
    assert (plan(520, 100).together, plan(520, 100).step) == (1, 260)


def test_passes_keep_the_order() -> None:
    assert list(passes([[1], [2], [3]], 2)) == [[[1], [2]], [[3]]]
