"""Quantized checkpoints read exactly: the weights their method's own dequantizer gives, without torch.

bitsandbytes (NF4, FP4, plain or double quantization, and int8), 8-bit floats, GPTQ and compressed-tensors.
Every other method is refused by name. Nothing is read but small tables of shapes; weights are computed by
ranges of rows, while they are read.
"""

from localllm.dequantization.dequantize import dequantized
from localllm.dequantization.methods import quantization_method, unquantized_base
from localllm.dequantization.round_trip import as_in_training

__all__ = ["as_in_training", "dequantized", "quantization_method", "unquantized_base"]
