"""The engine that ships for tests: it behaves as a real one, without a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.engine import FinishReason, SamplingOptions, ScriptedEngine, Source
from localllm.errors import GenerationError, StateError

HELLO = [{"role": "user", "content": "one two three"}]


def test_answers_come_in_turn_word_by_word() -> None:
    engine = ScriptedEngine(["first answer", "second"])
    chunks = list(engine.stream(HELLO, SamplingOptions()))
    assert [chunk.text for chunk in chunks] == ["first", " answer", ""]
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert engine.answer(HELLO).text == "second"
    assert engine.answer(HELLO).text == "first answer"
    assert engine.seen == [HELLO] * 3
    assert engine.asked[0] == SamplingOptions()


def test_several_answers_interleave() -> None:
    engine = ScriptedEngine(["a b c", "d"])
    chunks = list(engine.stream(HELLO, SamplingOptions(n=2)))
    assert [(chunk.index, chunk.text) for chunk in chunks[:4]] == [(0, "a"), (1, "d"), (0, " b"), (0, " c")]
    assert [
        answer.text for answer in ScriptedEngine(["a b c", "d"]).answers(HELLO, SamplingOptions(n=2))
    ] == ["a b c", "d"]
    assert chunks[-1].statistics is not None
    assert chunks[-1].statistics.completion_tokens == 4


def test_limits_and_stop_texts() -> None:
    engine = ScriptedEngine(["one two three four"], tokens_per_word=2)
    cut = engine.answer(HELLO, SamplingOptions(max_tokens=4))
    assert (cut.text, cut.finish_reason) == ("one two", FinishReason.LENGTH)
    assert cut.statistics.completion_tokens == 4
    stopped = engine.answer(HELLO, SamplingOptions(stop=("o th",)))
    assert (stopped.text, stopped.finish_reason) == ("one tw", FinishReason.STOP)


def test_the_context_is_a_limit_that_grows_as_far_as_trained() -> None:
    engine = ScriptedEngine(["a b c d e f"], context_size=5, training_context=10)
    answer = engine.answer(HELLO)
    assert (answer.text, answer.finish_reason) == ("a b", FinishReason.LENGTH)
    with pytest.raises(GenerationError, match="holds 5"):
        engine.stream([*HELLO, *HELLO], SamplingOptions())
    assert not engine.grow(11)
    assert engine.grow(10)
    assert engine.context_size == 10
    assert engine.answer(HELLO).text == "a b c d e f"


def test_interrupting() -> None:
    engine = ScriptedEngine(["a b c d"])
    stream = engine.stream(HELLO, SamplingOptions())
    next(stream)
    engine.interrupt()
    assert list(stream)[-1].finish_reason is FinishReason.INTERRUPTED


def test_it_remembers_what_it_read(tmp_path: Path) -> None:
    engine = ScriptedEngine(["fine"])
    engine.answer(HELLO)
    more = [*HELLO, {"role": "assistant", "content": "fine"}, {"role": "user", "content": "four"}]
    assert engine.save_state(tmp_path / "state").tokens == 4
    assert engine.answer(more).statistics.cached_tokens == 4
    other = ScriptedEngine(["fine"])
    assert other.load_state(tmp_path / "state") == 4
    assert other.answer(more).statistics.cached_tokens == 4


def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    engine = ScriptedEngine(["fine"])
    engine.answer(HELLO)
    engine.save_state(tmp_path / "state")
    (tmp_path / "broken").write_text("{")
    for other, name in (
        (ScriptedEngine(["x"], name="other"), "state"),
        (ScriptedEngine(["x"], context_size=2), "state"),
        (ScriptedEngine(["x"]), "broken"),
        (ScriptedEngine(["x"]), "missing"),
    ):
        with pytest.raises(StateError):
            other.load_state(tmp_path / name)
    with pytest.raises(StateError):
        ScriptedEngine(["x"], can_keep_state=False).save_state(tmp_path / "state")


def test_settings_have_sources() -> None:
    found = ScriptedEngine(["x"]).effective(SamplingOptions(temperature=0.2))
    assert found["temperature"].source is Source.GIVEN
    assert found["top_p"].source is Source.DEFAULT
