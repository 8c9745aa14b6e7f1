"""Answers as they come: several at once, stop texts, characters never split, seeds, limits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.engine import EngineOptions, FinishReason, LlamaEngine, SamplingOptions
from localllm.engine.base import Engine
from localllm.errors import GenerationError, UsageError

QUESTION = [{"role": "user", "content": "What is GGUF?"}]
WILD = SamplingOptions(
    temperature=2, top_k=0, min_p=0, top_p=1, max_tokens=40, logit_bias=((258, -100), (259, -100))
)
OTHER = [{"role": "user", "content": "Name a level."}]


@pytest.fixture(scope="module")
def engine(demo_path: Path) -> Iterator[LlamaEngine]:
    with LlamaEngine(demo_path) as engine:
        yield engine


@pytest.fixture(scope="module")
def babble(bpe_path: Path) -> Iterator[LlamaEngine]:
    """A model of random weights: mostly bytes that are no text."""
    with LlamaEngine(bpe_path) as engine:
        yield engine


def test_the_seed_repeats_an_answer(babble: Engine) -> None:
    first = babble.answer(QUESTION, WILD.changed(seed=5)).text
    assert babble.answer(QUESTION, WILD.changed(seed=5)).text == first
    assert babble.answer(QUESTION, WILD.changed(seed=6)).text != first
    assert babble.answer(QUESTION, WILD).text != babble.answer(QUESTION, WILD).text


def test_several_answers_are_those_of_consecutive_seeds(babble: Engine) -> None:
    together = babble.answers(QUESTION, WILD.changed(n=4, seed=11))
    alone = [babble.answer(QUESTION, WILD.changed(seed=11 + index)) for index in range(4)]
    assert len({answer.text for answer in together}) == 4
    # decoding four at a time adds up in another order than one at a time: a near tie may fall otherwise
    assert sum(ours.text == theirs.text for ours, theirs in zip(together, alone, strict=True)) >= 3


def test_several_answers_share_the_prompt(engine: Engine) -> None:
    engine.answer(OTHER, SamplingOptions(max_tokens=1))
    statistics = engine.answers(QUESTION, SamplingOptions(n=5, max_tokens=7, seed=3, temperature=0))[
        0
    ].statistics
    alone = engine.answer(QUESTION, SamplingOptions(max_tokens=7, temperature=0)).statistics
    assert statistics.prompt_tokens == alone.prompt_tokens
    assert statistics.completion_tokens == 5 * alone.completion_tokens


def test_greedy_answers_are_all_the_same(engine: Engine) -> None:
    options = SamplingOptions(temperature=0, max_tokens=40)
    expected = engine.answer(QUESTION, options).text
    assert {answer.text for answer in engine.answers(QUESTION, options.changed(n=3))} == {expected}
    assert engine.answer(QUESTION, options).text == expected  # nothing is left over


def test_every_answer_ends_once_and_the_statistics_come_last(engine: Engine) -> None:
    chunks = list(engine.stream(QUESTION, SamplingOptions(n=4, temperature=1.5, seed=2, max_tokens=60)))
    ends = [chunk.index for chunk in chunks if chunk.finish_reason]
    assert sorted(ends) == [0, 1, 2, 3]
    for index in range(4):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert own[-1].finish_reason is not None
    assert [chunk.statistics is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_several_answers_are_interrupted_together(engine: Engine) -> None:
    chunks = []
    for chunk in engine.stream(QUESTION, SamplingOptions(n=3, temperature=0, max_tokens=60)):
        chunks.append(chunk)
        engine.interrupt()
    assert [chunk.finish_reason for chunk in chunks[-3:]] == [FinishReason.INTERRUPTED] * 3
    assert engine.answer(QUESTION, SamplingOptions(temperature=0, max_tokens=8)).text


def test_closing_a_stream_of_several_leaves_the_engine_usable(engine: Engine) -> None:
    options = SamplingOptions(temperature=0, max_tokens=30)
    expected = engine.answer(QUESTION, options).text
    stream = engine.stream(OTHER, options.changed(n=3))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert engine.answer(QUESTION, options).text == expected


@pytest.mark.parametrize("n", [1, 3])
def test_characters_are_never_split(babble: Engine, n: int) -> None:
    chunks = list(babble.stream(QUESTION, WILD.changed(n=n, seed=1, max_tokens=60)))
    joined = ["".join(chunk.text for chunk in chunks if chunk.index == index) for index in range(n)]
    assert all("\ufffd" in text for text in joined)  # bytes that are no character become this one, whole


def test_characters_of_several_tokens_arrive_whole(babble: LlamaEngine) -> None:
    grammar = 'root ::= "é" "😀" "中" "a"'
    chunks = list(babble.stream(OTHER, SamplingOptions(grammar=grammar, max_tokens=20, seed=1)))
    assert [chunk.text for chunk in chunks if chunk.text] == ["é", "😀", "中", "a"]


@pytest.mark.parametrize("n", [1, 2])
def test_stop_texts_across_tokens_are_never_shown(engine: Engine, n: int) -> None:
    plain = engine.answer(QUESTION, SamplingOptions(temperature=0, max_tokens=40)).text
    stop = plain[7:15]
    assert len(stop) == 8
    options = SamplingOptions(temperature=0, max_tokens=40, stop=("never said", stop), n=n)
    chunks = list(engine.stream(QUESTION, options))
    for index in range(n):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert "".join(chunk.text for chunk in own) == plain[:7]
        assert own[-1].finish_reason is FinishReason.STOP


def test_held_back_text_is_shown_when_no_stop_text_comes(engine: Engine) -> None:
    plain = engine.answer(QUESTION, SamplingOptions(temperature=0, max_tokens=10)).text
    options = SamplingOptions(temperature=0, max_tokens=10, stop=(plain[-5:] + "and then never",))
    assert engine.answer(QUESTION, options).text == plain


def test_a_full_context_ends_the_answer(demo_path: Path) -> None:
    with LlamaEngine(demo_path, EngineOptions(context=256)) as engine:
        options = SamplingOptions(temperature=0, logit_bias=((engine._model.eos, -100.0),))
        answer = engine.answer(QUESTION, options)
        assert answer.finish_reason is FinishReason.LENGTH
        used = answer.statistics.prompt_tokens + answer.statistics.completion_tokens
        assert used == engine.context_size == 256
        several = engine.answers(QUESTION, options.changed(n=3))
        assert {each.finish_reason for each in several} == {FinishReason.LENGTH}
        statistics = several[0].statistics
        assert 250 <= statistics.prompt_tokens + statistics.completion_tokens <= 256


def test_a_prompt_that_does_not_fit_is_refused_at_once(demo_path: Path) -> None:
    with LlamaEngine(demo_path, EngineOptions(context=256)) as engine, pytest.raises(GenerationError):
        engine.stream([{"role": "user", "content": "word " * 400}], SamplingOptions())


def test_options_are_checked_at_once(engine: Engine) -> None:
    with pytest.raises(UsageError, match="token 999999"):
        engine.stream(QUESTION, SamplingOptions(logit_bias=((999999, 1.0),)))
    with pytest.raises(UsageError, match="grammar is broken"):
        engine.stream(QUESTION, SamplingOptions(grammar="root ::= x"))
    with pytest.raises(GenerationError, match="nothing to answer"):
        engine.stream([], SamplingOptions())


@pytest.mark.parametrize("n", [1, 2])
def test_a_closed_engine_answers_no_more_but_harms_nobody(demo_path: Path, n: int) -> None:
    engine = LlamaEngine(demo_path)
    stream = engine.stream(QUESTION, SamplingOptions(n=n, temperature=0))
    other = engine.stream(OTHER, SamplingOptions(temperature=0))
    next(stream)
    engine.close()
    engine.close()
    with pytest.raises(GenerationError, match="closed"):
        next(other)
    with contextlib.suppress(GenerationError):  # several: the next one was about to draw a token
        assert list(stream)[-1].finish_reason is FinishReason.INTERRUPTED
    for use in (engine.stream, lambda *_: engine.count_tokens(QUESTION), lambda *_: engine.count_text("a")):
        with pytest.raises(GenerationError, match="closed"):
            use(QUESTION, SamplingOptions())
