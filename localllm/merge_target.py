"""What an adapter is merged into. Imports nothing heavy: `--help` needs it."""

from __future__ import annotations

from enum import StrEnum


class MergeTarget(StrEnum):
    """What `--merge-into` accepts.

    `auto`: the base as it is, its weights dequantized if they are quantized. `16bit`: the 16-bit model that a
    quantized base was made from. `dequantized`: the weights QLoRA training saw, also when the base is 16-bit:
    they are rounded as bitsandbytes rounds them (NF4, double quantization) before the adapter is added.
    """

    AUTO = "auto"
    SIXTEEN_BIT = "16bit"
    DEQUANTIZED = "dequantized"
