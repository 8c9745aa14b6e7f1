"""The optional library that quantizes in SIMD lanes: its C sources, how it is built, and where it lies.

`source/kernels.h` says why its bytes are ggml's; `native.kernels` loads it. Without it everything works the
same, only slower.
"""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).with_name("lanes.so")
DIGEST = Path(__file__).with_name("lanes.so.sha256")  # of the library as it was built, in hexadecimal
