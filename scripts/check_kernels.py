#!/usr/bin/env python3
"""Hold the kernels against ggml_quantize_chunk of the installed binding, block by block.

    python scripts/check_kernels.py [--weights 5e7] [--type Q4_K ...] [--instructions avx2 ...] [--seed N]
                                    [--library FILE | --sanitize]

For every type and instruction set of this processor it quantizes at least so many weights of the patterns of
tests/kernels/patterns.py, and as many again with an importance for each column, and prints the blocks that
differ: there must be none.

--sanitize compiles the kernels with the address and the undefined-behaviour sanitizer and runs on those; CC
names the compiler. --library takes kernels that were compiled elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localllm.kernels import LIBRARY  # noqa: E402
from localllm.kernels.build import build  # noqa: E402
from localllm.native.kernels import TYPES, Kernels, instructions_of, open_library  # noqa: E402
from tests.kernels.comparison import Difference, compare  # noqa: E402
from tests.kernels.patterns import PATTERNS  # noqa: E402

_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
_COLUMNS = (4096, 2816, 256, 1024)  # each width takes a quarter of the weights


def main() -> int:
    """Print a line for each type; return 1 when a block differs."""
    arguments = parse_arguments()
    if arguments.sanitize:
        return run_sanitized()
    library = open_library(arguments.library)
    names = arguments.instructions or instructions_of(library)
    found = [Kernels(name, None, library.localllm_encode) for name in names]
    print(f"{len(PATTERNS)} patterns, {arguments.weights:.2g} weights per type and instruction set")
    differing = 0
    for kind in arguments.type or TYPES:
        begin = time.perf_counter()
        differences = check(kind, found, int(arguments.weights), arguments.seed)
        for name in names:
            for matrix in (False, True):
                own = [e for e in differences if e.instructions == name and e.with_importance == matrix]
                total, bad = sum(each.blocks for each in own), sum(each.differing for each in own)
                differing += bad
                words = " with importances" if matrix else ""
                print(f"{kind} {name}{words}: {bad} of {total} blocks differ", flush=True)
                for each in own:
                    if each.differing:
                        print(f"    {each}")
        print(f"{kind}: {time.perf_counter() - begin:.0f} s", flush=True)
    return 1 if differing else 0


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=float, default=5e7, help="per type and instruction set")
    parser.add_argument("--type", action="append", choices=TYPES)
    parser.add_argument("--instructions", action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", type=Path, default=LIBRARY)
    parser.add_argument("--sanitize", action="store_true")
    return parser.parse_args()


def check(kind: str, found: Sequence[Kernels], weights: int, seed: int) -> list[Difference]:
    """Compare on all patterns, with and without importances; return what came of each."""
    each = weights / (len(PATTERNS) * len(_COLUMNS))
    differences = []
    for number, name in enumerate(PATTERNS):
        for columns, with_importance in itertools.product(_COLUMNS, (False, True)):
            shape = (max(1, math.ceil(each / columns)), columns)
            random = np.random.default_rng((seed, number, columns, with_importance))
            differences += compare(kind, found, name, random, shape, with_importance=with_importance)
    return differences


def run_sanitized() -> int:
    """Run this script on kernels compiled with sanitizers, on few weights: they take ten times as long."""
    compiler = os.environ.get("CC", "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        library, _ = build(Path(folder), extra=_SANITIZERS)
        runtime = subprocess.run(
            [*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        others = [word for word in sys.argv[1:] if word != "--sanitize"]
        return subprocess.run(
            [sys.executable, __file__, "--weights", "1e6", *others, "--library", str(library)],
            env={**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
