"""The engine on a real model: greedy decoding, prefix reuse, limits, interruption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localllm.engine import Engine, EngineOptions, FinishReason, LlamaEngine, SamplingOptions
from localllm.errors import GenerationError
from localllm.native import logs
from localllm.native.library import llama

GREEDY = SamplingOptions(temperature=0, max_tokens=60)
QUESTION = [{"role": "user", "content": "What is GGUF?"}]


@pytest.fixture(scope="module")
def demo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from localllm.pipeline import quantize_model
    from localllm.quantization.levels import LEVELS
    from localllm.store import shipped_checkpoint

    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    path = tmp_path_factory.mktemp("engine") / "demo-Q8_0.gguf"
    quantize_model(checkpoint, [(LEVELS["Q8_0"], path)])
    return path


@pytest.fixture
def engine(demo_path: Path) -> Iterator[Engine]:
    with LlamaEngine(demo_path) as engine:
        yield engine


def test_greedy_answers_equal_the_stock_bindings(engine: Engine, demo_path: Path) -> None:
    import ctypes

    from llama_cpp import Llama

    stock: Any = Llama(str(demo_path), n_ctx=512, verbose=False)
    expected = stock.create_chat_completion(QUESTION, temperature=0, max_tokens=60, repeat_penalty=1.0)
    stock.close()
    llama().llama_log_set(logs.CALLBACK, ctypes.c_void_p(0))
    assert engine.answer(QUESTION, GREEDY).text == expected["choices"][0]["message"]["content"]


def test_a_growing_conversation_is_not_read_again(engine: Engine) -> None:
    first = engine.answer(QUESTION, GREEDY)
    messages = [
        *QUESTION,
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": "Thanks"},
    ]
    second = engine.answer(messages, GREEDY)
    assert first.statistics.cached_tokens == 0
    assert second.statistics.cached_tokens >= first.statistics.prompt_tokens


def test_reuse_changes_nothing(engine: Engine, demo_path: Path) -> None:
    engine.answer([{"role": "user", "content": "What is LoRA?"}], GREEDY)
    reused = engine.answer(QUESTION, GREEDY).text
    with LlamaEngine(demo_path) as fresh:
        assert fresh.answer(QUESTION, GREEDY).text == reused


def test_max_tokens_is_exact(engine: Engine) -> None:
    answer = engine.answer(QUESTION, SamplingOptions(temperature=0, max_tokens=4))
    assert answer.statistics.completion_tokens == 4
    assert answer.finish_reason is FinishReason.LENGTH


def test_closing_the_stream_stops_and_the_engine_goes_on(engine: Engine) -> None:
    stream = engine.stream(QUESTION, GREEDY)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert "GGUF" in engine.answer(QUESTION, GREEDY).text


def test_interrupt_ends_with_what_there_is(engine: Engine) -> None:
    whole = engine.answer(QUESTION, GREEDY).text
    parts, reason = [], None
    for chunk in engine.stream(QUESTION, GREEDY):
        parts.append(chunk.text)
        reason = chunk.finish_reason
        engine.interrupt()
    assert reason is FinishReason.INTERRUPTED
    text = "".join(parts)
    assert whole.startswith(text)
    assert text != whole
    assert engine.answer(QUESTION, GREEDY).text == whole


def test_a_prompt_larger_than_the_context_is_refused(demo_path: Path) -> None:
    with (
        LlamaEngine(demo_path, EngineOptions(context=256)) as engine,
        pytest.raises(GenerationError) as caught,
    ):
        engine.answer([{"role": "user", "content": "word " * 400}])
    assert "256" in caught.value.message
    assert caught.value.hint
