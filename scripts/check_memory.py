#!/usr/bin/env python3
"""Hold the estimates of memory against what llama.cpp reports, for models of many architectures and sizes.

    python scripts/check_memory.py [NAME ...]

Every model is a header whose weights are holes; llama.cpp makes its contexts without allocating anything.
Prints cache and buffers as estimated and as reported, and the largest error. The cache must be exact.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from localllm.gguf_file import read_header  # noqa: E402
from localllm.memory import CACHE_TYPES, footprint_of  # noqa: E402
from tests.inspection.measuring import measure  # noqa: E402
from tests.inspection.shaped_gguf import SHAPES, write_shaped_gguf  # noqa: E402

CONTEXTS = (512, 2048, 4096, 8192, 32_768, 131_072)
MIB = 1024 * 1024
ROUNDING = 0.02 * MIB  # llama.cpp prints hundredths of a MiB, of two caches at most


def main() -> None:
    """Print a line for each model, type of cache and context, and the largest error."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or SHAPES:
            worst = max(worst, check(name, Path(folder) / "model.gguf"))
    print(f"buffers are at most {worst:.1%} off")


def check(name: str, path: Path) -> float:
    """Compare one model at all contexts; return the largest error of its buffers."""
    shape = SHAPES[name]
    footprint = footprint_of(read_header(write_shaped_gguf(path, shape)))
    assert footprint is not None
    contexts = [context for context in CONTEXTS if context <= shape.context]
    worst = 0.0
    for kind in CACHE_TYPES:
        for context, found in zip(contexts, measure(path, contexts, cache=kind), strict=True):
            cache, buffers = footprint.cache_bytes(context, kind), footprint.buffer_bytes(context)
            error = buffers / found["compute"] - 1
            worst = max(worst, abs(error))
            print(
                f"{name:<14} {kind:<4} {context:>7}  cache {cache / MIB:9.2f} ({found['cache'] / MIB:9.2f})  "
                f"buffers {buffers / MIB:7.1f} ({found['compute'] / MIB:7.1f}) {error:+.1%}"
            )
            if abs(cache - found["cache"]) > ROUNDING:
                sys.exit(f"the cache of {name} is not what llama.cpp reports")
    return worst


if __name__ == "__main__":
    main()
