"""Quantized checkpoints whose parts are missing or do not fit: one line that names the tensor, and a hint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.checkpoint import open_checkpoint
from localllm.dequantization import dequantized
from localllm.errors import CheckpointError
from tests.conversion.tiny_llama import edit_json
from tests.dequantization.quantizers import Stored
from tests.dequantization.tiny_quantized import CASES, derived_values, rewrite, write_tiny_quantized

_GATE = "model.layers.0.mlp.gate_proj"
_STATE = f"{_GATE}.weight.quant_state.bitsandbytes__nf4"
Change = Callable[[Stored], None]


def _without(ending: str) -> Change:
    return lambda stored: _ignore(stored.pop(f"{_GATE}.{ending}"))


def _cut(ending: str, axis: int = 0) -> Change:
    """Leave out the last row or column of a part."""

    def change(stored: Stored) -> None:
        dtype, values = stored[f"{_GATE}.{ending}"]
        kept = np.take(values, range(values.shape[axis] - 1), axis=axis)
        stored[f"{_GATE}.{ending}"] = (dtype, np.ascontiguousarray(kept))

    return change


def _put(ending: str, dtype: str, values: Any) -> Change:
    return lambda stored: stored.update({f"{_GATE}.{ending}": (dtype, np.asarray(values))})


def _state(**changes: Any) -> Change:
    """Change the quant state; None removes an entry."""

    def change(stored: Stored) -> None:
        values = json.loads(stored[_STATE][1].tobytes()) | changes
        text = json.dumps({key: value for key, value in values.items() if value is not None})
        stored[_STATE] = ("U8", np.frombuffer(text.encode(), np.uint8))

    return change


def _raw_state(text: bytes) -> Change:
    return lambda stored: stored.update({_STATE: ("U8", np.frombuffer(text, np.uint8))})


def _three_groups(stored: Stored) -> None:
    del stored[f"{_GATE}.g_idx"]
    stored[f"{_GATE}.scales"] = ("F16", np.ones((3, 416), np.float16))
    stored[f"{_GATE}.qzeros"] = ("I32", np.ones((3, 52), np.int32))


def _ignore(_: object) -> None:
    return None


BROKEN: dict[str, tuple[str, Change, str]] = {
    "no absmax": ("nf4", _without("weight.absmax"), "but `.*absmax` is missing"),
    "no outer absmax": ("nf4-double", _without("weight.nested_absmax"), "nested_absmax` is missing"),
    "no table": ("nf4-double", _without("weight.nested_quant_map"), "nested_quant_map` is missing"),
    "no quant state": (
        "nf4-double",
        _without("weight.quant_state.bitsandbytes__nf4"),
        r"gate_proj\.weight` is quantized, but `.*quant_state.* is missing",
    ),
    "no 4-bit weight": ("nf4", _without("weight"), r"but `.*gate_proj\.weight` is missing"),
    "short weight": ("nf4", _cut("weight"), r"gate_proj\.weight` of shape .* does not hold \[416, 64\]"),
    "in one row": (
        "nf4",
        lambda stored: stored.update({f"{_GATE}.weight": ("U8", stored[f"{_GATE}.weight"][1].T)}),
        r"shape \[1, 13312\] does not hold",
    ),
    "empty absmax": ("nf4", _put("weight.absmax", "F32", np.ones(0, np.float32)), "absmax` is empty"),
    "short absmax": ("nf4", _cut("weight.absmax"), r"absmax` has shape \[415\], not \[416\]"),
    "short table": ("nf4-double", _cut("weight.nested_quant_map"), r"shape \[255\], not \[256\]"),
    "short outer absmax": ("nf4-double", _cut("weight.nested_absmax"), r"shape \[1\], not \[2\]"),
    "absmax in integers": ("nf4", _put("weight.absmax", "U8", np.zeros(416, np.uint8)), "has type U8"),
    "not JSON": ("nf4", _raw_state(b"{"), "bitsandbytes__nf4` is not valid JSON"),
    "not UTF-8": ("nf4", _raw_state(b"\xff\xfe"), "is not valid JSON"),
    "too deep": ("nf4", _raw_state(b"[" * 16000), "is not valid JSON"),
    "endless": ("nf4", _raw_state(b" " * 20000), "which is no quant state"),
    "a list": ("nf4", _raw_state(b"[1]"), "is not a JSON object"),
    "no shape": ("nf4", _state(shape=None), "no shape that a weight could have"),
    "shape in words": ("nf4", _state(shape="416x64"), "no shape that a weight could have"),
    "negative shape": ("nf4", _state(shape=[-416, -64]), "no shape that a weight could have"),
    "many dimensions": ("nf4", _state(shape=[1, 1, 1, 416, 64]), "no shape that a weight could have"),
    "fractions": ("nf4", _state(shape=[416.0, 64]), "no shape that a weight could have"),
    "astronomic shape": ("nf4", _state(shape=[10**30, 64]), "no shape that a weight could have"),
    "large shape": ("nf4", _state(shape=[2**39, 2**39]), "does not hold"),
    "odd blocks": ("nf4", _state(blocksize=48), "has blocks of 48"),
    "no blocks": ("nf4", _state(blocksize=0), "has blocks of 0"),
    "yes as a size": ("nf4", _state(blocksize=True), "has blocks of True"),
    "larger blocks": ("nf4", _state(blocksize=128), r"absmax` has shape \[416\], not \[208\]"),
    "another dtype": ("nf4", _state(dtype="int64"), "is neither nf4 nor fp4 of a dtype"),
    "another kind": ("nf4", _state(quant_type="fp4"), "is neither nf4 nor fp4"),
    "offset in words": ("nf4-double", _state(nested_offset="a lot"), "offset that is not a number"),
    "infinite offset": ("nf4-double", _state(nested_offset=float("inf")), "offset that is not a number"),
    "huge offset": ("nf4-double", _state(nested_offset=10**400), "offset that is not a number"),
    "stray absmax": ("nf4", _put("bias.absmax", "F32", np.ones(1, np.float32)), "no quantized weight"),
    "no SCB": ("int8", _without("SCB"), r"gate_proj\.weight` is quantized, but `.*SCB` is missing"),
    "short SCB": ("int8", _cut("SCB"), "not one for each of 416 rows"),
    "another layout": ("int8", _put("weight_format", "U8", np.array(2, np.uint8)), "only rows are read"),
    "stray SCB": ("int8", _put("bias.SCB", "F32", np.ones(1, np.float32)), "no quantized weight"),
    "no scales": ("fp8-blocks", _without("weight_scale_inv"), "gate_proj.weight_scale` is missing"),
    "short scales": ("fp8-blocks", _cut("weight_scale_inv", 1), r"fits no blocks of \[416, 64\]"),
    "scales in integers": (
        "fp8-blocks",
        _put("weight_scale_inv", "I32", np.ones((9, 2), np.int32)),
        "has type I32",
    ),
    "stray scales": (
        "fp8-blocks",
        _put("bias_scale_inv", "F32", np.ones(1, np.float32)),
        "no quantized weight",
    ),
    "no scales of groups": ("gptq-4", _without("scales"), "scales` is missing"),
    "no zeros": ("gptq-4", _without("qzeros"), "qzeros` is missing"),
    "short zeros": ("gptq-4", _cut("qzeros", 1), "does not hold zeros for 416 outputs"),
    "fewer zeros than scales": ("gptq-4", _cut("qzeros"), r"qzeros` has shape \[1, 52\], not \[2, 52\]"),
    "narrow scales": ("gptq-4", _cut("scales", 1), r"scales` has shape \[2, 415\], not \[2, 416\]"),
    "short words": ("gptq-4", _cut("qweight"), r"g_idx` has shape \[64\], not \[56\]"),
    "uneven groups": ("gptq-4", _three_groups, r"scales` has 3 groups for 64 inputs"),
    "stray zeros": ("gptq-4", _put("bias.qzeros", "I32", np.ones((1, 1), np.int32)), "no quantized weight"),
    "both forms": ("gptq-4", _put("weight", "F16", np.ones((416, 64), np.float16)), "besides its quantized"),
    "no packed scales": ("compressed-packed-4", _without("weight_scale"), "weight_scale` is missing"),
    "no true shape": ("compressed-packed-4", _without("weight_shape"), "weight_shape` is missing"),
    "short packed words": ("compressed-packed-4", _cut("weight_packed"), r"does not hold \[416, 64\]"),
    "true shape below zero": (
        "compressed-packed-4",
        _put("weight_shape", "I64", np.array([-416, 64])),
        r"weight_shape` says \[-416, 64\]",
    ),
    "true shape too large": (
        "compressed-packed-4",
        _put("weight_shape", "I64", np.array([2**39, 64])),
        "does not hold",
    ),
    "short group scales": ("compressed-packed-4", _cut("weight_scale", 1), "fits no scheme in config.json"),
    "no zero points": ("compressed-packed-4-zeros", _without("weight_zero_point"), "zero_point` is missing"),
    "short zero points": (
        "compressed-packed-4-zeros",
        _cut("weight_zero_point"),
        r"zero_point` has shape \[51, 2\], not \[52, 2\]",
    ),
    "short order": ("compressed-packed-4-order", _cut("weight_g_idx"), r"shape \[63\], not \[64\]"),
    "no row scales": ("compressed-int8-rows", _without("weight_scale"), "weight_scale` is missing"),
    "no rows": ("compressed-int8-rows", _put("weight", "I8", np.zeros((0, 64), np.int8)), r"shape \[0, 64\]"),
    "stray order": (
        "compressed-int8-rows",
        _put("bias.weight_g_idx", "I32", np.zeros(64, np.int32)),
        "no quantized weight",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_parts_that_do_not_fit(name: str, tmp_path: Path) -> None:
    case, change, message = BROKEN[name]
    checkpoint = open_checkpoint(rewrite(tmp_path, change, case))
    with pytest.raises(CheckpointError, match=message) as caught:
        dequantized(checkpoint)
    _assert_clear(caught.value)


ORDERS: dict[str, tuple[str, Change, str]] = {
    "beyond the groups": (
        "gptq-4",
        _put("g_idx", "I32", np.full(64, 2, np.int32)),
        "names groups beyond the 2",
    ),
    "below zero": ("gptq-4", _put("g_idx", "I32", np.full(64, -1, np.int32)), "names groups beyond the 2"),
    "uneven": (
        "compressed-packed-4-order",
        _put("weight_g_idx", "I32", np.zeros(64, np.int32)),
        "does not share the columns out among groups of 32",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_that_does_not_fit_shows_when_it_is_read(name: str, tmp_path: Path) -> None:
    case, change, message = ORDERS[name]
    plain = dequantized(open_checkpoint(rewrite(tmp_path, change, case)))
    with pytest.raises(CheckpointError, match=message) as caught:
        derived_values(plain)
    _assert_clear(caught.value)


SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "blocks of nothing": ("fp8-blocks", {"weight_block_size": [0, 128]}, "weight_block_size in config.json"),
    "one size": ("fp8-blocks", {"weight_block_size": [128]}, "weight_block_size in config.json"),
    "blocks in words": ("fp8-blocks", {"weight_block_size": "128x128"}, "weight_block_size in config.json"),
    "other blocks": ("fp8-blocks", {"weight_block_size": [128, 128]}, "fits no blocks of"),
    "no groups": ("compressed-packed-4", {"config_groups": None}, "no config_groups"),
    "a group in words": (
        "compressed-packed-4",
        {"config_groups": {"g": {"weights": "W4"}}},
        "does not know: W4",
    ),
    "no bits": (
        "compressed-packed-4",
        {"config_groups": {"g": {"weights": {"strategy": "group"}}}},
        "a scheme that compressed-tensors does not know",
    ),
    "groups of nothing": (
        "compressed-packed-4",
        {"config_groups": {"g": {"weights": {"num_bits": 4, "strategy": "group", "group_size": 0}}}},
        "a scheme that compressed-tensors does not know",
    ),
    "8 bits instead of 4": (
        "compressed-packed-4",
        {"config_groups": {"g": {"weights": {"num_bits": 8, "strategy": "group", "group_size": 32}}}},
        "does not hold",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_do_not_fit(name: str, tmp_path: Path) -> None:
    case, changes, message = SETTINGS[name]
    write_tiny_quantized(tmp_path, case)
    edit_json(tmp_path / "config.json", quantization_config={**CASES[case].settings, **changes})
    with pytest.raises(CheckpointError, match=message) as caught:
        dequantized(open_checkpoint(tmp_path))
    _assert_clear(caught.value)


def _assert_clear(error: CheckpointError) -> None:
    assert "\n" not in error.message
    assert not error.message.endswith(".")
    assert error.hint
