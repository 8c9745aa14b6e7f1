"""Tokens per second of reading a prompt and of generating, by the procedure of llama-bench.

Tokens are random, the first one BOS where the model adds that, and nothing is sampled. Each test has a
context of its own, no larger than it needs; it is run once for warm-up (generation: one token) and then
repeated from an empty cache, or behind `depth` tokens that were read before the clock starts. `ppN` reads N
tokens at once; `tgN` decodes N tokens one by one, each with its logits. Source:
tools/llama-bench/llama-bench.cpp of llama.cpp.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localllm.events import Advanced, Emit, Finished, Started, ignore
from localllm.native.context import Context
from localllm.native.model import Model

_SEED = 1234
_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class SpeedTest:
    """What to run: tokens to read, tokens to generate, tokens before that, and how often."""

    prompt_tokens: int
    generated_tokens: int
    depth: int
    repetitions: int
    threads: int


@dataclass(frozen=True)
class Samples:
    """Tokens per second of every repetition, in order."""

    prompt: tuple[float, ...]
    generation: tuple[float, ...]


def measure_speeds(model: Model, test: SpeedTest, *, emit: Emit = ignore) -> Samples:
    """Run both tests on `model`, prompt reading first. Raise GenerationError or ModelLoadError."""
    return Samples(_prompt_speeds(model, test, emit), _generation_speeds(model, test, emit))


def _prompt_speeds(model: Model, test: SpeedTest, emit: Emit) -> tuple[float, ...]:
    tokens = _random_tokens(model, test.depth + test.prompt_tokens)
    before, timed = tokens[: test.depth], tokens[test.depth :]

    def read(context: Context) -> None:
        context.decode(timed, start=test.depth)

    return _samples(model, test, "pp", before, len(timed), warm_up=read, run=read, emit=emit)


def _generation_speeds(model: Model, test: SpeedTest, emit: Emit) -> tuple[float, ...]:
    tokens = _random_tokens(model, test.depth + test.generated_tokens)
    before, timed = tokens[: test.depth], tokens[test.depth :]

    def generate(context: Context, tokens: Sequence[int]) -> None:
        for position, token in enumerate(tokens, start=test.depth):
            context.decode([token], start=position)
            context.synchronize()

    return _samples(
        model,
        test,
        "tg",
        before,
        len(timed),
        warm_up=lambda context: generate(context, timed[:1]),
        run=lambda context: generate(context, timed),
        emit=emit,
    )


def _samples(
    model: Model,
    test: SpeedTest,
    name: str,
    before: Sequence[int],
    count: int,
    *,
    warm_up: Callable[[Context], None],
    run: Callable[[Context], None],
    emit: Emit,
) -> tuple[float, ...]:
    """Return the tokens per second of every repetition of `run`, which decodes `count` tokens."""
    step, size, samples = f"{name}{count}", len(before) + count, []
    emit(Started(step, test.repetitions, "repetitions"))
    with Context(model, context_size=size, threads=test.threads, batch_size=_BATCH_TOKENS) as context:
        _start_over(context, model, before, is_first=True)
        warm_up(context)
        for repetition in range(test.repetitions):
            _start_over(context, model, before, is_first=False)
            started = time.perf_counter()
            run(context)
            context.synchronize()
            samples.append(count / (time.perf_counter() - started))
            emit(Advanced(step, repetition + 1))
    emit(Finished(step))
    return tuple(samples)


def _start_over(context: Context, model: Model, before: Sequence[int], *, is_first: bool) -> None:
    """Bring the cache to hold exactly the tokens `before`, which are not read again where it can go back."""
    if before and not is_first and not model.is_recurrent and context.forget_from(len(before)):
        return
    context.clear()
    if before:
        context.decode(before, start=0)
    context.synchronize()


def _random_tokens(model: Model, count: int) -> list[int]:
    generator = random.Random(_SEED)
    tokens = [generator.randrange(model.vocabulary_size) for _ in range(count)]
    if model.adds_bos:
        tokens[0] = model.bos
    return tokens
