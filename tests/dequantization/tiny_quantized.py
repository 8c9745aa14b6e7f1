"""Tiny quantized Llama checkpoints, one for each form that is read: config.json and what quantizes.

The rows of `down_proj` are 416 wide, which is no multiple of 64 or 128; an up projection has 416 blocks
of 64, more than double quantization puts under one scale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.checkpoint import Checkpoint, open_checkpoint
from localllm.checkpoint.numbers import as_float32
from tests.conversion.tiny_llama import (
    TinyLlama,
    cast,
    edit_json,
    tiny_tensors,
    write_safetensors,
    write_tiny_llama,
)
from tests.dequantization.quantizers import Float8, FourBit, Gptq, Integers, Stored, int8_rows

GOLDEN = Path(__file__).parent / "golden" / "digests.json"
SPEC = TinyLlama("BF16", intermediate=416)
Quantizer = Callable[[str, NDArray[np.float32]], Stored]


@dataclass(frozen=True)
class TinyQuantized:
    """`settings` are config.json's quantization_config; the modules `seconds` get the second quantizer."""

    settings: Mapping[str, Any]
    quantizer: Quantizer
    dtype: str = "bfloat16"
    second: Quantizer | None = None
    seconds: tuple[str, ...] = ("down_proj", "o_proj")

    @property
    def native(self) -> str:
        """Return safetensors' name of `dtype`."""
        return {"bfloat16": "BF16", "float16": "F16"}[self.dtype]

    def stored(self) -> Stored:
        """Return the tensors of the checkpoint: projections quantized, all others in the 16-bit `dtype`."""
        stored: Stored = {}
        for name, values in tiny_tensors(SPEC).items():
            if not name.endswith("proj.weight"):
                stored[name] = (self.native, cast(values, self.native))
                continue
            module = name.removesuffix(".weight")
            is_second = self.second is not None and module.endswith(self.seconds)
            quantizer = self.second if is_second and self.second is not None else self.quantizer
            stored |= quantizer(module, values)
        return dict(sorted(stored.items()))


def _bnb(kind: str = "nf4", *, double: bool = False, storage: str = "uint8") -> dict[str, Any]:
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_storage": storage,
        "bnb_4bit_quant_type": kind,
        "bnb_4bit_use_double_quant": double,
    }


def _gptq(**values: Any) -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq", **values}


def _compressed(
    layout: str, *schemes: Mapping[str, Any], formats: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """Return settings with a group for each scheme; `formats` names formats of their own and targets."""
    places = [{"format": name, "targets": targets} for name, targets in (formats or {}).items()]
    groups = {
        f"group_{number}": {"input_activations": None, "weights": dict(scheme), **place}
        for number, (scheme, place) in enumerate(
            zip(schemes, places or [{"targets": ["Linear"]}], strict=True)
        )
    }
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": groups,
    }


def _scheme(bits: int, strategy: str, **values: Any) -> dict[str, Any]:
    kind = "float" if values.pop("is_float", False) else "int"
    return {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": True, **values}


_FLOAT = {"is_float": True}
_BOTH = {
    "pack-quantized": [r"re:.*(q|k|v|gate|up)_proj$"],
    "float-quantized": [r"re:.*(o|down)_proj$"],
}
_FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}
_GROUP_4 = _scheme(4, "group", group_size=32)

CASES: dict[str, TinyQuantized] = {
    "nf4": TinyQuantized(_bnb(), FourBit()),
    "nf4-double": TinyQuantized(_bnb(double=True), FourBit(double=True)),
    "nf4-float32": TinyQuantized(_bnb(), FourBit(dtype="float32", blocksize=128)),
    "nf4-stored-as-bfloat16": TinyQuantized(
        _bnb(double=True, storage="bfloat16"), FourBit(double=True, storage="BF16")
    ),
    "fp4": TinyQuantized(_bnb("fp4"), FourBit("fp4", blocksize=256)),
    "fp4-double-float16": TinyQuantized(
        _bnb("fp4", double=True), FourBit("fp4", "float16", double=True), "float16"
    ),
    "int8": TinyQuantized({"quant_method": "bitsandbytes", "load_in_8bit": True}, int8_rows, "float16"),
    "fp8-blocks": TinyQuantized({**_FP8, "weight_block_size": [48, 40]}, Float8((48, 40))),
    "fp8-blocks-bfloat16": TinyQuantized(
        {**_FP8, "weight_block_size": [128, 128]}, Float8((128, 128), scales="BF16")
    ),
    "fp8-tensor": TinyQuantized(
        {**_FP8, "weight_block_size": None}, Float8(others=("activation_scale",), shape=())
    ),
    "fp8-tensor-static": TinyQuantized(
        {**_FP8, "activation_scheme": "static"},
        Float8(ending="weight_scale", others=("input_scale", "k_scale", "v_scale"), shape=()),
    ),
    "fp8-e5m2-rows": TinyQuantized(
        {**_FP8, "weight_block_size": None}, Float8((1, 0), "F8_E5M2", ending="weight_scale")
    ),
    "gptq-4": TinyQuantized(_gptq(sym=True), Gptq(), "float16"),
    "gptq-4-order": TinyQuantized(
        _gptq(sym=False, desc_act=True), Gptq(symmetric=False, orders=True), "float16"
    ),
    "gptq-8-v2": TinyQuantized(
        _gptq(bits=8, checkpoint_format="gptq_v2"), Gptq(8, symmetric=False, added=0), "float16"
    ),
    "gptq-2": TinyQuantized(_gptq(bits=2), Gptq(2, symmetric=False)),
    "compressed-float-tensor": TinyQuantized(
        _compressed("float-quantized", _scheme(8, "tensor", **_FLOAT)),
        Float8(ending="weight_scale", scales="BF16", others=("input_scale",), shape=(1,)),
    ),
    "compressed-float-rows": TinyQuantized(
        _compressed("float-quantized", _scheme(8, "channel", **_FLOAT)),
        Float8((1, 0), ending="weight_scale", scales="F32"),
    ),
    "compressed-float-blocks": TinyQuantized(
        _compressed("float-quantized", _scheme(8, "block", block_structure=[32, 16], **_FLOAT)),
        Float8((32, 16), ending="weight_scale", scales="BF16"),
    ),
    "compressed-int8-rows": TinyQuantized(
        _compressed("int-quantized", _scheme(8, "channel")), Integers(8, 0, packs=False)
    ),
    "compressed-int8-zeros": TinyQuantized(
        _compressed("naive-quantized", _scheme(8, "channel", symmetric=False)),
        Integers(8, 0, symmetric=False, packs=False, scales="F16"),
        "float16",
    ),
    "compressed-packed-4": TinyQuantized(_compressed("pack-quantized", _GROUP_4), Integers()),
    "compressed-packed-4-zeros": TinyQuantized(
        _compressed("pack-quantized", {**_GROUP_4, "symmetric": False}), Integers(symmetric=False)
    ),
    "compressed-packed-4-order": TinyQuantized(
        _compressed("pack-quantized", {**_GROUP_4, "actorder": "group"}), Integers(orders=True)
    ),
    "compressed-packed-8-rows": TinyQuantized(
        _compressed("pack-quantized", _scheme(8, "channel")), Integers(8, 0, scales="F32")
    ),
    "compressed-mixed": TinyQuantized(
        _compressed("mixed-precision", _GROUP_4, _scheme(8, "channel", **_FLOAT), formats=_BOTH),
        Integers(),
        second=Float8((1, 0), ending="weight_scale", scales="BF16"),
    ),
}


def write_tiny_quantized(directory: Path, name: str) -> Path:
    """Write the checkpoint of one of CASES; return `directory`."""
    case = CASES[name]
    write_tiny_llama(directory, SPEC)
    edit_json(directory / "config.json", quantization_config=dict(case.settings), torch_dtype=case.dtype)
    write_safetensors(directory / "model.safetensors", case.stored())
    return directory


def rewrite(directory: Path, change: Callable[[Stored], None], name: str = "nf4-double") -> Path:
    """Write a checkpoint of CASES with its stored tensors changed; return `directory`."""
    write_tiny_quantized(directory, name)
    stored = CASES[name].stored()
    change(stored)
    write_safetensors(directory / "model.safetensors", dict(sorted(stored.items())))
    return directory


def derived_values(checkpoint: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """Return the weights that were quantized, computed."""
    return {name: tensor.read_array() for name, tensor in checkpoint.tensors.items() if tensor.is_derived}


def digest(values: NDArray[np.float32]) -> str:
    """Return a digest of float32 values, bit for bit."""
    return hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()[:16]


def golden() -> dict[str, dict[str, str]]:
    """Return the digests of what the methods' own libraries compute, by case and weight."""
    content: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="ascii"))
    return content


def write_plain(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write a dequantized checkpoint as a plain one, every tensor in its native dtype."""
    write_tiny_llama(directory, SPEC)
    plain: Stored = {}
    for name, tensor in checkpoint.tensors.items():
        values = as_float32(tensor.read_array(), tensor.dtype)
        plain[name] = (tensor.native_dtype, cast(values, tensor.native_dtype))
    write_safetensors(directory / "model.safetensors", plain)
    return directory


def open_tiny(directory: Path, name: str) -> Checkpoint:
    """Write and open a checkpoint of CASES."""
    return open_checkpoint(write_tiny_quantized(directory, name))
