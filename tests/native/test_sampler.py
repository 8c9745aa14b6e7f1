"""Each sampling option alone against its definition in numpy, on logits made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from localllm.errors import GenerationError
from localllm.native.model import Model
from localllm.native.sampler import PENALTY_WINDOW, Sampler, SamplerSettings

NEUTRAL = SamplerSettings(
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
    repeat_penalty=1.0,
    frequency_penalty=0.0,
    presence_penalty=0.0,
    seed=7,
)
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def model(tiny_gguf: Path) -> Iterator[Model]:
    with Model(tiny_gguf) as model:
        yield model


@pytest.fixture
def logits(model: Model) -> Floats:
    return np.random.default_rng(0).standard_normal(model.vocabulary_size).astype(np.float32) * 3


def left(
    model: Model, settings: SamplerSettings, logits: Floats, said: tuple[int, ...] = ()
) -> dict[int, float]:
    """Return the tokens that are left and their probabilities."""
    sampler = Sampler(settings, model)
    for token in said:
        sampler.accept(token)
    candidates, _ = sampler.apply(logits)
    sampler.close()
    return {int(token): float(p) for token, p in zip(candidates["id"], candidates["p"], strict=True) if p > 0}


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    powers = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return powers / powers.sum()


def check(found: dict[int, float], expected: NDArray[np.floating]) -> None:
    """Hold what is left against the logits expected, -inf for tokens that must be gone."""
    kept = np.flatnonzero(np.isfinite(expected))
    assert sorted(found) == sorted(kept)
    probabilities = softmax(expected)
    for token, p in found.items():
        assert p == pytest.approx(probabilities[token], rel=1e-4)


def kept_only(logits: Floats, kept: NDArray[np.intp]) -> NDArray[np.float64]:
    expected = np.full(logits.size, -np.inf)
    expected[kept] = logits[kept]
    return expected


def test_without_options_nothing_moves(model: Model, logits: Floats) -> None:
    check(left(model, NEUTRAL, logits), logits)


@pytest.mark.parametrize("temperature", [0.5, 0.7, 1.5, 2.0])
def test_temperature_divides(model: Model, logits: Floats, temperature: float) -> None:
    check(left(model, replace(NEUTRAL, temperature=temperature), logits), logits / np.float32(temperature))


def test_temperature_zero_takes_the_likeliest(model: Model, logits: Floats) -> None:
    sampler = Sampler(replace(NEUTRAL, temperature=0.0), model)
    candidates, chosen = sampler.apply(logits)
    assert candidates["id"][chosen] == np.argmax(logits)
    sampler.close()


@pytest.mark.parametrize("top_k", [1, 5, 40, 100_000])
def test_top_k_keeps_the_largest(model: Model, logits: Floats, top_k: int) -> None:
    order = np.argsort(-logits)[:top_k]
    check(left(model, replace(NEUTRAL, top_k=top_k), logits), kept_only(logits, order))


@pytest.mark.parametrize("top_p", [0.0, 0.1, 0.5, 0.95])
def test_top_p_keeps_the_fewest_that_reach_it(model: Model, logits: Floats, top_p: float) -> None:
    order = np.argsort(-logits)
    cumulated = np.cumsum(softmax(logits)[order])
    count = int(np.searchsorted(cumulated, top_p)) + 1
    check(left(model, replace(NEUTRAL, top_p=top_p), logits), kept_only(logits, order[:count]))


@pytest.mark.parametrize("min_p", [0.01, 0.2, 1.0])
def test_min_p_is_a_share_of_the_largest(model: Model, logits: Floats, min_p: float) -> None:
    probabilities = softmax(logits)
    kept = np.flatnonzero(probabilities >= min_p * probabilities.max() * (1 - 1e-6))
    check(left(model, replace(NEUTRAL, min_p=min_p), logits), kept_only(logits, kept))


@pytest.mark.parametrize("penalty", [0.5, 1.3, 2.0])
def test_repeat_penalty_divides_or_multiplies(model: Model, logits: Floats, penalty: float) -> None:
    said = (3, 17, 17, 90)
    expected = logits.astype(np.float64)
    for token in set(said):
        expected[token] = expected[token] * penalty if expected[token] <= 0 else expected[token] / penalty
    check(left(model, replace(NEUTRAL, repeat_penalty=penalty), logits, said), expected)


@pytest.mark.parametrize("penalty", [-2.0, 0.7, 2.0])
def test_frequency_penalty_counts(model: Model, logits: Floats, penalty: float) -> None:
    expected = logits.astype(np.float64)
    expected[3] -= penalty
    expected[17] -= 2 * penalty
    check(left(model, replace(NEUTRAL, frequency_penalty=penalty), logits, (3, 17, 17)), expected)


@pytest.mark.parametrize("penalty", [-2.0, 0.7, 2.0])
def test_presence_penalty_does_not_count(model: Model, logits: Floats, penalty: float) -> None:
    expected = logits.astype(np.float64)
    expected[[3, 17]] -= penalty
    check(left(model, replace(NEUTRAL, presence_penalty=penalty), logits, (3, 17, 17)), expected)


def test_penalties_look_back_so_far_and_no_further(model: Model, logits: Floats) -> None:
    said = (5, *[6] * (PENALTY_WINDOW - 1))
    expected = logits.astype(np.float64)
    expected[[5, 6]] -= 1.0
    settings = replace(NEUTRAL, presence_penalty=1.0)
    check(left(model, settings, logits, said), expected)
    expected[5] += 1.0
    check(left(model, settings, logits, (*said, 6)), expected)


def test_biases_are_added(model: Model, logits: Floats) -> None:
    expected = logits.astype(np.float64)
    expected[4] += 5
    expected[8] -= 100
    expected[9] += 1.5
    settings = replace(NEUTRAL, biases=((4, 5.0), (8, -100.0), (9, 1.0), (9, 0.5)))
    found = left(model, settings, logits)
    assert found.get(8, 0.0) < 1e-30
    check({**found, 8: float(softmax(expected)[8])}, expected)


def test_bias_and_penalties_come_before_what_cuts(model: Model, logits: Floats) -> None:
    token = int(np.argmin(logits))
    settings = replace(NEUTRAL, top_k=1, biases=((token, 50.0),))
    assert list(left(model, settings, logits)) == [token]
    settings = replace(settings, frequency_penalty=2.0)
    assert list(left(model, settings, logits, (token,) * 40)) != [token]


def test_the_seed_decides(model: Model, logits: Floats) -> None:
    def draws(seed: int) -> list[int]:
        sampler = Sampler(replace(NEUTRAL, seed=seed, temperature=2.0), model)
        found = []
        for _ in range(20):
            candidates, chosen = sampler.apply(logits)
            found.append(int(candidates["id"][chosen]))
            sampler.accept(found[-1])
        sampler.close()
        return found

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_draws_follow_the_probabilities(model: Model) -> None:
    logits = np.full(model.vocabulary_size, -50, np.float32)
    logits[[1, 2, 3]] = np.log([0.7, 0.2, 0.1])
    sampler = Sampler(NEUTRAL, model)
    counts = np.zeros(4)
    for _ in range(3000):
        candidates, chosen = sampler.apply(logits)
        counts[candidates["id"][chosen]] += 1
    sampler.close()
    assert counts[1:] / 3000 == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


def test_a_grammar_forbids_all_else(model: Model, logits: Floats) -> None:
    letters = {
        letter: model.tokenize("\n" + letter, add_special=False, parse_special=False)[-1] for letter in "ab"
    }
    sampler = Sampler(replace(NEUTRAL, grammar='root ::= "b" "a"'), model)
    candidates, chosen = sampler.apply(logits, by_grammar=True)
    allowed = {int(token) for token, logit in candidates[["id", "logit"]] if np.isfinite(logit)}
    assert all(model.piece(token).startswith(b"b") for token in allowed)
    assert letters["b"] in allowed
    sampler.accept(letters["b"])
    sampler.accept(letters["a"])
    candidates, chosen = sampler.apply(logits, by_grammar=True)
    assert model.is_end(int(candidates["id"][chosen]))  # nothing but the end is left
    sampler.close()


def test_a_grammar_the_vocabulary_cannot_follow_is_an_error(model: Model, logits: Floats) -> None:
    grammar = 'root ::= "b" [\\U0010FFFF]'
    sampler = Sampler(replace(NEUTRAL, grammar=grammar), model)
    hopeless = np.full(logits.size, -np.inf, np.float32)
    with pytest.raises(GenerationError, match="grammar allows nothing"):
        sampler.apply(hopeless, by_grammar=True)
    sampler.close()
