"""The context: as large as needed when nobody says, kept when it grows, and how it is held."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.engine import EngineOptions, FinishReason, LlamaEngine, SamplingOptions, sizing
from localllm.errors import GenerationError, ModelLoadError, UsageError
from localllm.events import Event, Notice
from localllm.native import context as native_context

GREEDY = SamplingOptions(temperature=0, max_tokens=20)
QUESTION = [{"role": "user", "content": "What is GGUF?"}]
TRAINED = 1024  # the demo model


@pytest.fixture
def small_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with 256 tokens, so that growing is seen on the demo model."""
    monkeypatch.setattr(sizing, "FIRST_CONTEXT", 256)
    monkeypatch.setattr(sizing, "SMALLEST_CONTEXT", 256)


def long_message(words: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": "level " * words}]


def test_it_begins_with_what_the_model_was_trained_for(demo_path: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        assert engine.context_size == engine.training_context == TRAINED


def test_a_long_prompt_makes_it_grow(demo_path: Path, small_start: None) -> None:
    with LlamaEngine(demo_path) as engine:
        assert engine.context_size == 256
        answer = engine.answer(long_message(300), GREEDY)
        assert answer.statistics.prompt_tokens > 256
        assert engine.context_size == 512
        with LlamaEngine(demo_path, EngineOptions(context=1024)) as fixed:
            assert fixed.answer(long_message(300), GREEDY).text == answer.text


def test_growing_keeps_what_was_read(demo_path: Path, small_start: None) -> None:
    with LlamaEngine(demo_path) as engine:
        engine.answer(QUESTION, GREEDY)
        held = list(engine._workspace.tokens)
        assert engine.grow(500)
        assert engine.context_size == 512
        assert engine._workspace.tokens == held
        assert engine._workspace.context.held_positions() == (0, len(held) - 1)
        assert engine.answer(QUESTION, GREEDY).statistics.cached_tokens == 14


def test_an_answer_that_outgrows_it_goes_on(demo_path: Path, small_start: None) -> None:
    options = SamplingOptions(temperature=0, max_tokens=400, logit_bias=((0, -100), (2, -100)))
    with LlamaEngine(demo_path, EngineOptions(context=1024)) as fixed:
        expected = fixed.answer(QUESTION, options)
    with LlamaEngine(demo_path) as engine:
        engine._require_room = lambda *_: None  # type: ignore[method-assign]
        answer = engine.answer(QUESTION, options)
        assert engine.context_size == 512
        assert answer.text == expected.text
        assert answer.finish_reason is FinishReason.LENGTH
        assert answer.statistics.completion_tokens == 400


def test_the_trained_size_is_the_limit(demo_path: Path, small_start: None) -> None:
    with LlamaEngine(demo_path) as engine:
        assert not engine.grow(TRAINED + 1)
        assert engine.context_size == 256
        assert engine.grow(TRAINED)
        with pytest.raises(GenerationError, match=f"holds {TRAINED}"):
            engine.answer(long_message(1200), GREEDY)


def test_a_given_size_stays(demo_path: Path) -> None:
    with LlamaEngine(demo_path, EngineOptions(context=256)) as engine:
        assert engine.grow(200)
        assert not engine.grow(300)
        with pytest.raises(GenerationError, match="holds 256"):
            engine.answer(long_message(300), GREEDY)


def test_what_does_not_fit_into_memory_is_not_tried(
    demo_path: Path, small_start: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "gpus", tuple)
    with LlamaEngine(demo_path) as engine:
        monkeypatch.setattr(sizing, "available_memory_bytes", lambda: 1024)
        assert not engine.grow(512)
        assert engine.context_size == 256


def test_when_it_cannot_be_made_larger_everything_is_as_before(
    demo_path: Path, small_start: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LlamaEngine(demo_path) as engine:
        expected = engine.answer(QUESTION, GREEDY).text
        made = native_context.Context.__init__

        def refusing(self: native_context.Context, *arguments: object, **options: object) -> None:
            if options["context_size"] != 256:
                raise ModelLoadError("no memory")
            made(self, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(native_context.Context, "__init__", refusing)
        assert not engine.grow(512)
        assert engine.context_size == 256
        answer = engine.answer(QUESTION, GREEDY)
        assert (answer.text, answer.statistics.cached_tokens) == (expected, 14)


def test_a_context_beyond_the_training_is_told(demo_path: Path) -> None:
    events: list[Event] = []
    with LlamaEngine(demo_path, EngineOptions(context=2048), emit=events.append) as engine:
        assert engine.context_size == 2048
    assert [event.topic for event in events if isinstance(event, Notice)] == ["context-beyond-training"]


@pytest.mark.parametrize("kind", ["f32", "bf16", "q8_0", "q4_0"])
def test_the_cache_can_be_kept_in_other_types(demo_path: Path, kind: str) -> None:
    options = EngineOptions(cache_type_k=kind, cache_type_v=kind)
    with LlamaEngine(demo_path, options) as engine, LlamaEngine(demo_path) as usual:
        answer = engine.answer(QUESTION, GREEDY)
        assert answer.text
        if kind != "q4_0":
            assert answer.text == usual.answer(QUESTION, GREEDY).text
        engine.grow(1024)
        assert engine.answer(QUESTION, GREEDY).text == answer.text


@pytest.mark.parametrize("flash", ["on", "off", "auto"])
def test_flash_attention_is_a_choice(demo_path: Path, flash: str) -> None:
    with LlamaEngine(demo_path, EngineOptions(flash_attention=flash)) as engine:
        assert "GGUF" in engine.answer(QUESTION, GREEDY).text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"context": 0}, "context must be between"),
        ({"threads": 0}, "threads must be between"),
        ({"gpu_layers": "many"}, "gpu_layers must be one of auto, all"),
        ({"gpu_layers": -1}, "gpu_layers must be between"),
        ({"cache_type_k": "q3_K"}, "cache_type_k must be one of"),
        ({"flash_attention": "maybe"}, "flash_attention must be one of auto, on, off"),
        ({"flash_attention": "off", "cache_type_v": "q8_0"}, "needs flash attention"),
        ({"adapters": ((Path("a"), float("nan")),)}, "scale of adapter a"),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        EngineOptions(**wrong)  # type: ignore[arg-type]


def test_a_failing_start_frees_everything(demo_path: Path) -> None:
    with pytest.raises(GenerationError, match="template is broken"):
        LlamaEngine(demo_path, EngineOptions(template="{% if %}"))
