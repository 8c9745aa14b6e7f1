"""Rounds of text: how large they are, when they end, and what becomes of files that fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from localllm.comparison.quality import Limits, QualityFindings, evaluate_in_rounds
from localllm.comparison.rounds import are_apart, next_chunks, undecided_pairs
from localllm.errors import LocalLLMError, ModelLoadError, UsageError
from localllm.evaluation import Scores

PER_CHUNK = 10


def scores(mean: float, *, count: int = 100, noise: float = 0.0, seed: int = 0) -> Scores:
    """Return scores whose divergence is `mean`, with noise that all of them share, and some of their own."""
    own = np.random.default_rng(seed).normal(0, noise, count) if noise else 0.0
    shared = np.random.default_rng(99).normal(0, 0.01, count)
    kl = (mean + shared + own).astype(np.float32)
    ones = np.ones(count)
    return Scores(ones, ones, kl, kl * 0, np.ones(count, bool))


@pytest.mark.parametrize(
    ("done", "available", "limit", "seconds", "expected"),
    [
        (0, None, None, None, 8),
        (8, 100, None, None, 8),
        (16, 100, None, None, 16),
        (64, 100, None, None, 36),
        (100, 100, None, None, 0),
        (0, None, 3, None, 3),
        (8, 100, 10, None, 2),
        (10, 100, 10, None, 0),
        (16, 100, None, (10.0, 2.0), 5),
        (16, 100, None, (1.0, 2.0), 0),
        (16, 100, None, (-5.0, 2.0), 0),
        (16, 100, None, (5.0, 0.0), 16),  # everything was kept: nothing takes time
        (0, None, None, (1.0, 60.0), 1),  # something has to be evaluated
    ],
)
def test_rounds_grow_to_their_limits(
    done: int,
    available: int | None,
    limit: int | None,
    seconds: tuple[float, float] | None,
    expected: int,
) -> None:
    assert next_chunks(done, available=available, limit=limit, seconds=seconds) == expected


def test_pairing_tells_apart_what_lies_within_the_error_bars() -> None:
    """The standard error of each mean is 0.001, ten times their difference: but they vary together."""
    left, right = scores(0.02, noise=1e-4, seed=1), scores(0.0201, noise=1e-4, seed=2)
    assert are_apart(left, right)
    assert not are_apart(scores(0.02, noise=0.01, seed=1), scores(0.0201, noise=0.01, seed=2))


def test_only_neighbours_that_cannot_be_told_apart_are_named() -> None:
    found = {
        "Q8_0": scores(0.001, noise=0.01, seed=1),
        "Q2_K": scores(0.5, noise=0.01, seed=2),
        "Q4_0": scores(0.0201, noise=0.01, seed=3),
        "Q4_K_M": scores(0.02, noise=0.01, seed=4),
    }
    (pair,) = undecided_pairs(found)
    assert set(pair) == {"Q4_0", "Q4_K_M"}


def test_files_with_one_content_are_no_pair() -> None:
    same = {"a": scores(0.1), "b": scores(0.1), "c": scores(0.2, noise=1e-4)}
    assert undecided_pairs(same) == [("a", "b")]
    assert undecided_pairs(same, [{"a", "b"}]) == []


def test_scores_of_other_positions_are_not_told_apart() -> None:
    assert not are_apart(scores(0.1, count=10), scores(0.9, count=20))


@dataclass(eq=False)
class FakeSubject:
    level: str
    mean: float = 0.0
    noise: float = 1e-4
    sha256: str = ""
    path: Path = Path()


@dataclass
class FakeEvaluator:
    """Evaluates by making scores up; `failing` are levels and what they raise."""

    available: int = 100
    failing: dict[str, LocalLLMError] = field(default_factory=dict)
    calls: list[tuple[str, int, int]] = field(default_factory=list)

    def evaluate(self, subject: FakeSubject, first: int, chunks: int) -> SimpleNamespace:
        if subject.level in self.failing:
            raise self.failing[subject.level]
        chunks = min(chunks, self.available - first)
        self.calls.append((subject.level, first, chunks))
        made = scores(
            subject.mean, count=PER_CHUNK * chunks, noise=subject.noise, seed=sum(subject.level.encode())
        )
        if subject.level == "BF16":
            made = Scores(made.nll)
        return SimpleNamespace(scores=made, chunks=chunks, available=self.available, seconds=float(chunks))


@dataclass
class Heard:
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def run(
    evaluator: FakeEvaluator, *levels: FakeSubject, limits: Limits | None = None
) -> tuple[QualityFindings, Heard]:
    reference, heard = FakeSubject("BF16", sha256="ref"), Heard()
    for number, level in enumerate(levels):
        level.sha256 = str(number)
    findings = evaluate_in_rounds(
        evaluator,  # type: ignore[arg-type]
        reference,  # type: ignore[arg-type]
        [*levels, reference],  # type: ignore[list-item]
        limits or Limits(),
        found=lambda subject, figures: heard.found.update({subject.level: figures}),
        failed=lambda subject, error: heard.failed.append(subject.level),
        begins=lambda subject, chunks: None,
    )
    return findings, heard


def test_one_round_is_enough_when_levels_are_far_apart() -> None:
    evaluator = FakeEvaluator()
    findings, heard = run(evaluator, FakeSubject("Q2_K", 0.5), FakeSubject("Q8_0", 0.01))
    assert evaluator.calls == [("BF16", 0, 8), ("Q2_K", 0, 8), ("Q8_0", 0, 8)]
    assert (findings.chunks, findings.tokens, findings.undecided) == (8, 80, [])
    assert "kl_divergence" in heard.found["Q2_K"]
    assert list(heard.found["BF16"]) == ["perplexity"]


def test_levels_that_cannot_be_told_apart_take_all_of_the_text() -> None:
    evaluator = FakeEvaluator(available=40)
    findings, _ = run(evaluator, FakeSubject("Q4_0", 0.02, 0.5), FakeSubject("Q4_K_S", 0.02, 0.5))
    assert [call[1:] for call in evaluator.calls if call[0] == "BF16"] == [(0, 8), (8, 8), (16, 16), (32, 8)]
    assert findings.chunks == 40
    assert len(findings.undecided) == 1


def test_a_short_text_ends_the_rounds() -> None:
    findings, _ = run(
        FakeEvaluator(available=3), FakeSubject("Q4_0", 0.02, 0.5), FakeSubject("Q5_0", 0.02, 0.5)
    )
    assert findings.chunks == 3


def test_limits_end_the_rounds() -> None:
    same = FakeSubject("Q4_0", 0.02, 0.5), FakeSubject("Q4_K_S", 0.02, 0.5)
    assert run(FakeEvaluator(), *same, limits=Limits(chunks=12))[0].chunks == 12
    # 3 files take a second a chunk each: 24 seconds for the first round, 6 are left for two chunks
    assert run(FakeEvaluator(), *same, limits=Limits(seconds=30))[0].chunks == 10


def test_a_level_that_fails_does_not_stop_the_others() -> None:
    evaluator = FakeEvaluator(failing={"Q4_0": ModelLoadError("broken")})
    findings, heard = run(evaluator, FakeSubject("Q4_0", 0.2), FakeSubject("Q8_0", 0.01))
    assert heard.failed == ["Q4_0"]
    assert "Q8_0" in heard.found
    assert findings.chunks == 8


def test_without_the_reference_there_is_nothing() -> None:
    evaluator = FakeEvaluator(failing={"BF16": ModelLoadError("broken")})
    findings, heard = run(evaluator, FakeSubject("Q4_0", 0.2))
    assert (findings.chunks, heard.failed, heard.found) == (0, ["BF16"], {})


def test_a_text_that_is_too_short_is_everybodys_fault() -> None:
    with pytest.raises(UsageError):
        run(FakeEvaluator(failing={"Q4_0": UsageError("too short")}), FakeSubject("Q4_0", 0.2))
