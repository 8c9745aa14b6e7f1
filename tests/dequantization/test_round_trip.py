"""`as_in_training` gives the weights bitsandbytes makes of a 16-bit model, whatever ranges are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localllm.checkpoint import Checkpoint, DerivedTensor
from localllm.dequantization import as_in_training
from tests.dequantization.round_trips import CASES, GOLDEN, RoundTrip, in_training
from tests.dequantization.tiny_quantized import digest


@pytest.mark.parametrize("name", CASES)
def test_it_is_bitsandbytes_own(name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="ascii"))
    assert digest(CASES[name].tensor().read_array()) == golden[name]


@pytest.mark.parametrize("step", [1, 7, 64])
@pytest.mark.parametrize("name", CASES)
def test_ranges_of_rows_are_the_whole(name: str, step: int) -> None:
    tensor = CASES[name].tensor()
    parts = [tensor.read_rows(row, min(step, tensor.rows - row)) for row in range(0, tensor.rows, step)]
    assert np.array_equal(np.concatenate(parts), tensor.read_array())


def test_it_stays_close_to_the_weights() -> None:
    case = CASES["rows"]
    error = np.abs(case.tensor().read_array() - case.weights())
    assert 0.001 < error.mean() < 0.02
    assert error.max() < 0.06


def test_zeros_stay_zero() -> None:
    values = RoundTrip((96, 64), "BF16", zeros=320).tensor().read_array()
    assert not values.reshape(-1)[:320].any()
    assert values.reshape(-1)[320:].any()
    assert not RoundTrip((8, 64), "BF16", zeros=512).tensor().read_array().any()


def test_what_is_no_number_is_not_hidden() -> None:
    weights = CASES["rows"].weights().copy()
    weights[3, 3] = np.nan
    assert np.isnan(in_training(weights, "BF16").read_rows(3, 1)[0, 3])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.embed_tokens.weight", (96, 64)),
        ("lm_head.weight", (96, 64)),
        ("transformer.wpe.weight", (96, 64)),
        ("model.norm.weight", (64,)),
        ("model.layers.0.self_attn.q_proj.bias", (64,)),
    ],
)
def test_what_training_kept_in_sixteen_bits_is_kept(name: str, shape: tuple[int, ...]) -> None:
    stored = DerivedTensor(name, "F32", shape, "BF16", lambda first, count: np.zeros((count, shape[-1])))
    checkpoint = Checkpoint(Path(), {}, {name: stored})
    assert as_in_training(checkpoint).tensors[name] is stored
