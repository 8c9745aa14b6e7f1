"""The storage types a conversion can produce. Imports nothing heavy: `--help` needs it."""

from __future__ import annotations

from enum import StrEnum


class OutType(StrEnum):
    """What `--outtype` accepts."""

    AUTO = "auto"
    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
