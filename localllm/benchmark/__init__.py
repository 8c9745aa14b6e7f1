"""How fast a model reads and writes, measured as llama-bench does: random tokens, no sampling.

`pp512` reads 512 tokens in one go, `tg128` generates 128 tokens one by one; each is run once for
warm-up and then repeated. Source of the procedure: tools/llama-bench of llama.cpp.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from localllm.native.context import Context
from localllm.native.model import Model

PROMPT_TOKENS = 512
GENERATED_TOKENS = 128
_SEED = 1234


@dataclass(frozen=True)
class Speed:
    """Tokens per second: the mean over the repetitions and the standard error of that mean."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Speeds:
    prompt: Speed
    generation: Speed


def measure_speeds(model: Model, *, threads: int, repetitions: int) -> Speeds:
    """Measure prompt reading (pp512) and generation (tg128) of `model`."""
    context_size = max(PROMPT_TOKENS, GENERATED_TOKENS)
    with Context(model, context_size=context_size, threads=threads, batch_size=PROMPT_TOKENS) as context:
        tokens = _random_tokens(model, PROMPT_TOKENS)
        prompt = _repeat(lambda: _read(context, tokens), lambda: _read(context, tokens), repetitions)
        generation = _repeat(
            lambda: _generate(context, tokens[:1]),
            lambda: _generate(context, tokens[:GENERATED_TOKENS]),
            repetitions,
        )
    return Speeds(prompt, generation)


def summarise_speed(samples: list[float]) -> Speed:
    """Return the mean of tokens-per-second `samples` and its standard error (0 for one sample)."""
    mean = statistics.fmean(samples)
    spread = statistics.stdev(samples) if len(samples) > 1 else 0.0
    return Speed(mean, spread / len(samples) ** 0.5)


def _repeat(warm_up: Callable[[], float], run: Callable[[], float], repetitions: int) -> Speed:
    warm_up()
    return summarise_speed([run() for _ in range(repetitions)])


def _read(context: Context, tokens: list[int]) -> float:
    """Return the tokens per second of reading `tokens` into an empty cache."""
    context.clear()
    started = time.perf_counter()
    context.decode(tokens, start=0)
    context.synchronize()
    return len(tokens) / (time.perf_counter() - started)


def _generate(context: Context, tokens: list[int]) -> float:
    """Return the tokens per second of decoding `tokens` one by one, each with logits."""
    context.clear()
    started = time.perf_counter()
    for position, token in enumerate(tokens):
        context.decode([token], start=position)
        context.synchronize()
    return len(tokens) / (time.perf_counter() - started)


def _random_tokens(model: Model, count: int) -> list[int]:
    generator = random.Random(_SEED)
    tokens = [generator.randrange(model.vocabulary_size) for _ in range(count)]
    if model.adds_bos:
        tokens[0] = model.bos
    return tokens
