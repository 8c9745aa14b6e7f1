"""Weights of all kinds, to hold quantizers against each other: what models have, and what nobody would make.

A pattern is a function of a random generator and a shape (rows, columns), columns a multiple of 256; it
returns float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
Shape = tuple[int, int]
Pattern = Callable[[np.random.Generator, Shape], Weights]

_LARGEST = np.finfo(np.float32).max
_SCALES = (1e-6, 1.0, 3e7)


def _gaussian(random: np.random.Generator, shape: Shape) -> Weights:
    return random.standard_normal(shape, dtype=np.float32)


def _repeated(random: np.random.Generator, shape: Shape, length: int) -> Weights:
    """The same number `length` times."""
    return np.repeat(_gaussian(random, (shape[0], shape[1] // length)), length, axis=1)


def _with_empty(random: np.random.Generator, shape: Shape, length: int) -> Weights:
    """Half of the stretches of `length` are zero."""
    kept = random.random((shape[0], shape[1] // length)) < 0.5
    return _gaussian(random, shape) * np.repeat(kept, length, axis=1)


def _sparse(random: np.random.Generator, shape: Shape, share: float) -> Weights:
    return _gaussian(random, shape) * (random.random(shape) < share)


def _outliers(random: np.random.Generator, shape: Shape, length: int) -> Weights:
    """A stretch of `length` in eight is larger, by up to 30 powers of ten."""
    weights = _gaussian(random, shape).reshape(shape[0], -1, length)
    few = random.random(weights.shape[:2]) < 0.125
    weights[few] *= np.float32(10) ** random.uniform(0, 30, (int(few.sum()), 1)).astype(np.float32)
    return weights.reshape(shape)


def _spikes(random: np.random.Generator, shape: Shape) -> Weights:
    """Single weights far from all others."""
    return _gaussian(random, shape) * np.where(random.random(shape) < 0.01, 1000, 1).astype(np.float32)


def _offset(random: np.random.Generator, shape: Shape, spread: float) -> Weights:
    return _gaussian(random, shape) * np.float32(spread) + np.float32(random.choice([-1, 1]))


def _one_signed(random: np.random.Generator, shape: Shape, sign: int) -> Weights:
    return np.abs(_gaussian(random, shape)) * np.float32(sign)


def _grid(random: np.random.Generator, shape: Shape, most: int, step: float) -> Weights:
    """Few different numbers, half-way between levels among them."""
    return random.integers(-most, most + 1, shape).astype(np.float32) * np.float32(step)


def _float16(random: np.random.Generator, shape: Shape) -> Weights:
    return _gaussian(random, shape).astype(np.float16).astype(np.float32)


def _bfloat16(random: np.random.Generator, shape: Shape) -> Weights:
    return (_gaussian(random, shape).view(np.uint32) & 0xFFFF0000).view(np.float32)


def _heavy_tailed(random: np.random.Generator, shape: Shape) -> Weights:
    return np.clip(random.standard_cauchy(shape), -1e30, 1e30).astype(np.float32)


def _ramps(random: np.random.Generator, shape: Shape) -> Weights:
    start, slope = _gaussian(random, (shape[0], 1)), _gaussian(random, (shape[0], 1))
    return start + slope * np.arange(shape[1], dtype=np.float32) / np.float32(shape[1])


def _sorted(random: np.random.Generator, shape: Shape) -> Weights:
    return np.sort(_gaussian(random, shape), axis=1)


def _uniform(random: np.random.Generator, shape: Shape) -> Weights:
    return random.random(shape, dtype=np.float32) - np.float32(0.5)


def _scaled(pattern: Pattern, scale: float, random: np.random.Generator, shape: Shape) -> Weights:
    with np.errstate(over="ignore", under="ignore"):
        weights = pattern(random, shape) * np.float32(scale)
    return np.clip(weights, -_LARGEST, _LARGEST).astype(np.float32)


def _constant(value: float, random: np.random.Generator, shape: Shape) -> Weights:
    return np.full(shape, value, dtype=np.float32)


def _denormal(random: np.random.Generator, shape: Shape, bits: int) -> Weights:
    signs = random.integers(0, 2, shape, dtype=np.uint32) << 31
    return (random.integers(0, 2**bits, shape, dtype=np.uint32) | signs).view(np.float32)


def _all_sizes(random: np.random.Generator, shape: Shape) -> Weights:
    sizes = np.exp2(random.uniform(-149, 127.9, shape)).astype(np.float32)
    return sizes * random.choice(np.float32([-1, 1]), shape)


def _finite_bits(random: np.random.Generator, shape: Shape) -> Weights:
    weights = _any_bits(random, shape)
    return np.where(np.isfinite(weights), weights, np.float32(1)).astype(np.float32)


def _largest(random: np.random.Generator, shape: Shape) -> Weights:
    return random.choice(np.float32([-_LARGEST, 0, 1, _LARGEST]), shape)


def _any_bits(random: np.random.Generator, shape: Shape) -> Weights:
    return random.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)


def _with(value: float, random: np.random.Generator, shape: Shape) -> Weights:
    """A weight in a thousand is `value`."""
    return np.where(random.random(shape) < 0.001, np.float32(value), _gaussian(random, shape))


_SHAPES: dict[str, Pattern] = {
    "gaussian": _gaussian,
    "uniform": _uniform,
    "constant 16": partial(_repeated, length=16),
    "constant 32": partial(_repeated, length=32),
    "empty 16": partial(_with_empty, length=16),
    "empty 32": partial(_with_empty, length=32),
    "empty 256": partial(_with_empty, length=256),
    "sparse": partial(_sparse, share=0.03),
    "one in a block": partial(_sparse, share=1 / 256),
    "outlying sub-blocks": partial(_outliers, length=32),
    "outlying blocks": partial(_outliers, length=256),
    "spikes": _spikes,
    "offset": partial(_offset, spread=1e-2),
    "far offset": partial(_offset, spread=1e-6),
    "positive": partial(_one_signed, sign=1),
    "negative": partial(_one_signed, sign=-1),
    "ternary": partial(_grid, most=1, step=1.0),
    "integers": partial(_grid, most=8, step=1.0),
    "halves": partial(_grid, most=31, step=0.5),
    "float16": _float16,
    "bfloat16": _bfloat16,
    "heavy tails": _heavy_tailed,
    "ramps": _ramps,
    "sorted": _sorted,
}
FINITE: dict[str, Pattern] = {
    **{
        f"{name} × {scale:g}": partial(_scaled, shape, scale)
        for name, shape in _SHAPES.items()
        for scale in _SCALES
    },
    **{f"gaussian × 1e{power}": partial(_scaled, _gaussian, 10.0**power) for power in range(-38, 39, 3)},
    **{f"all {value:g}": partial(_constant, value) for value in (0.0, -0.0, 1.0, -1e-20, _LARGEST)},
    "denormal": partial(_denormal, bits=23),
    "small denormal": partial(_denormal, bits=4),
    "all sizes": _all_sizes,
    "finite bits": _finite_bits,
    "largest": _largest,
}
NOT_FINITE: dict[str, Pattern] = {
    "infinity": partial(_with, float("inf")),
    "nan": partial(_with, float("nan")),
    "any bits": _any_bits,
}
PATTERNS = {**FINITE, **NOT_FINITE}


def importances(random: np.random.Generator, columns: int) -> Weights:
    """Return an importance for each column, as a matrix has them, or as one hardly ever does."""
    match random.integers(4):
        case 0:
            return np.exp2(random.uniform(-60, 60, columns)).astype(np.float32)
        case 1:  # columns that nothing ever went through
            return random.gamma(0.7, 1.0, columns).astype(np.float32) * (random.random(columns) < 0.5)
        case 2:
            return np.ones(columns, dtype=np.float32)
        case _:
            return random.gamma(0.7, 1.0, columns).astype(np.float32)
