"""Distributions to measure with, and the exact figures, computed plainly in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from localllm.evaluation.kept_rows import KeptRows, keep
from localllm.evaluation.softmax import softmax


def logits(seed: int, rows: int, vocabulary: int, scale: float) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, scale, (rows, vocabulary)).astype(np.float32)


def disturbed(values: NDArray[np.float32], seed: int, by: float) -> NDArray[np.float32]:
    return values + logits(seed, *values.shape, by)


def log_probabilities(values: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = values.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))


def exact_divergence(reference: NDArray[np.float32], model: NDArray[np.float32]) -> NDArray[np.float64]:
    p, q = log_probabilities(reference), log_probabilities(model)
    return np.array((np.exp(p) * (p - q)).sum(axis=1))


def kept(values: NDArray[np.float32], start: float = 0.5) -> KeptRows:
    distribution = softmax(values)
    surprise = distribution.surprise(np.zeros(len(values), np.int64))
    return keep(distribution, surprise, distribution.probabilities(), start)
