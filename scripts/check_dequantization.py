#!/usr/bin/env python3
"""Compare our reading of quantized checkpoints with that of the libraries that quantized them, bit for bit.

    python scripts/check_dequantization.py --python PYTHON --reference DIRECTORY [--write-golden] [CASE ...]

PYTHON is an interpreter with torch, transformers==4.57.6, bitsandbytes==0.50.2 and
compressed-tensors==0.12.2, in a throw-away place; DIRECTORY is a llama.cpp checkout, whose converter
dequantizes GPTQ and 8-bit floats. Each checkpoint of tests/dequantization/tiny_quantized.py goes through
bitsandbytes' `dequantize_4bit` and `int8_vectorwise_dequant`, through compressed-tensors' compressors, or
through that converter. `--write-golden` stores digests of what they compute in tests/dequantization/golden/,
where the tests compare without torch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localllm.checkpoint import open_checkpoint  # noqa: E402
from localllm.dequantization import dequantized  # noqa: E402
from tests.dequantization.tiny_quantized import (  # noqa: E402
    CASES,
    GOLDEN,
    derived_values,
    digest,
    write_tiny_quantized,
)

DRIVER = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import numpy, torch
from safetensors.torch import load_file

reference = Path(sys.argv[1])
sys.path[:0] = [str(reference), str(reference / "gguf-py")]


def bitsandbytes(tensors, settings):
    from bitsandbytes import functional
    for name, value in tensors.items():
        if ".quant_state." in name:
            weight = name.partition(".quant_state.")[0]
            parts = {key: item for key, item in tensors.items() if key.startswith(weight + ".")}
            state = functional.QuantState.from_dict(dict(parts), device=torch.device("cpu"))
            # its AVX-512 kernel goes wrong where a row is no multiple of a block, unlike those for GPUs and
            # its plain one: all weights in one row
            shape, state.shape = state.shape, torch.Size((1, state.shape.numel()))
            packed = tensors[weight].view(torch.uint8)
            yield weight, functional.dequantize_4bit(packed, state).reshape(shape)
        elif name.endswith(".SCB"):
            weight = name.removesuffix("SCB") + "weight"
            yield weight, functional.int8_vectorwise_dequant(tensors[weight], value)


def compressed_tensors(tensors, settings):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import unpack_from_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize
    names = [name.removesuffix("_scale") for name in tensors if name.endswith(".weight_scale")]
    for name in names:
        kind = "pack-quantized" if name + "_packed" in tensors else settings["format"]
        kind = "float-quantized" if kind == "mixed-precision" else kind
        groups = [g for g in settings["config_groups"].values() if g.get("format") in (None, kind)]
        args = QuantizationArgs(**groups[0]["weights"])
        prefix = name.removesuffix("weight")
        data = {key.removeprefix(prefix): item for key, item in tensors.items() if key.startswith(prefix)}
        if kind == "pack-quantized" and not args.symmetric:
            # the package packs zero points, but its decompressor refuses them: its parts do not
            shape, scale = torch.Size(data["weight_shape"]), data["weight_scale"]
            codes = unpack_from_int32(data["weight_packed"], args.num_bits, shape)
            zeros = (shape[0], scale.shape[-1])
            zeros = unpack_from_int32(data["weight_zero_point"], args.num_bits, zeros, packed_dim=0)
            yield name, dequantize(x_q=codes, scale=scale, zero_point=zeros)
            continue
        data.pop("weight_global_scale", None)
        compressor = BaseCompressor.get_value_from_registry(kind)(config=None)
        yield name, compressor.decompress_weight(compressed_data=data, quantization_args=args)


def converter(tensors, settings):
    from conversion.base import ModelBase
    # it looks for the scales under one of the two names only
    alike = {n.replace("weight_scale", "weight_scale_inv") if n.endswith("weight_scale") else n: v
             for n, v in tensors.items()}
    model = SimpleNamespace(
        hparams={"quantization_config": settings}, lazy=False, _is_nvfp4=False, _fp8_as_q8=False,
        _fp8_dequantized=set(), model_tensors={n: (lambda v=v: v) for n, v in alike.items()},
    )
    if settings["quant_method"] == "fp8" and any(n.endswith("weight_scale") for n in tensors):
        settings.setdefault("weight_block_size", None)
    ModelBase.dequant_model(model)
    for name, value in model.model_tensors.items():
        if name.endswith("proj.weight"):
            yield name, value()


methods = {"bitsandbytes": bitsandbytes, "compressed-tensors": compressed_tensors}
for folder in map(Path, sys.argv[2:]):
    settings = json.loads((folder / "config.json").read_text())["quantization_config"]
    tensors = load_file(folder / "model.safetensors")
    weights = methods.get(settings["quant_method"], converter)(tensors, settings)
    arrays = {name: value.float().contiguous().numpy() for name, value in weights}
    numpy.savez(folder / "library.npz", **arrays)
"""


def main() -> int:
    """Print a line for each case; return 1 when a bit differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--python", required=True, help="an interpreter with the libraries")
    parser.add_argument("--reference", required=True, type=Path, help="a llama.cpp checkout")
    parser.add_argument("--write-golden", action="store_true", help="store digests of what they compute")
    arguments = parser.parse_args()
    names = arguments.cases or list(CASES)
    golden: dict[str, dict[str, str]] = {}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        paths = [write_tiny_quantized(Path(folder) / name, name) for name in names]
        command = [arguments.python, "-c", DRIVER, str(arguments.reference.resolve()), *map(str, paths)]
        subprocess.run(command, check=True)
        for name, path in zip(names, paths, strict=True):
            ours = derived_values(dequantized(open_checkpoint(path)))
            with np.load(path / "library.npz") as stored:
                theirs = dict(stored)
            golden[name] = {weight: digest(values) for weight, values in sorted(theirs.items())}
            different = [weight for weight in theirs if digest(ours[weight]) != golden[name][weight]]
            failed |= bool(different) or set(ours) != set(theirs)
            largest = max((float(np.abs(ours[w] - theirs[w]).max()) for w in different), default=0.0)
            print(f"{name:26} {len(theirs)} weights, {len(different)} differ, by at most {largest:.1e}")
    if arguments.write_golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="ascii", newline="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
