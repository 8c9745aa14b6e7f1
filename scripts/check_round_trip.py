#!/usr/bin/env python3
"""Compare the weights `--merge-into dequantized` starts from with bitsandbytes' own NF4 round trip.

    python scripts/check_round_trip.py --python PYTHON [--write-golden]

PYTHON is an interpreter with torch and bitsandbytes==0.50.2, in a throw-away place. Prints for each matrix of
tests/dequantization/round_trips.py, and for a larger one, how many weights are the same. `--write-golden`
stores the digests of what bitsandbytes computes, where the tests compare without torch.
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

from tests.dequantization.round_trips import CASES, GOLDEN, RoundTrip  # noqa: E402
from tests.dequantization.tiny_quantized import digest  # noqa: E402

LARGE = RoundTrip((2048, 2048), "BF16")
DRIVER = """
import sys
import numpy, torch
from bitsandbytes import functional

for path, dtype in zip(sys.argv[1::2], sys.argv[2::2]):
    weights = torch.from_numpy(numpy.load(path)).to({"BF16": torch.bfloat16, "F16": torch.float16}[dtype])
    # in one row: its AVX-512 kernel goes wrong where a row is no multiple of a block
    row = weights.reshape(1, -1)
    packed, state = functional.quantize_4bit(row, quant_type="nf4", compress_statistics=True)
    restored = functional.dequantize_4bit(packed, state).reshape(weights.shape)
    numpy.save(path, restored.float().numpy())
"""


def main() -> int:
    """Print a line for each matrix; return 1 when a small one differs, or more than 1 % of the large one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="an interpreter with torch and bitsandbytes")
    parser.add_argument("--write-golden", action="store_true", help="store digests of what it computes")
    arguments = parser.parse_args()
    cases = {**CASES, "large": LARGE}
    failed, golden = False, {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.npy" for name in cases}
        for name, path in paths.items():
            np.save(path, cases[name].weights())
        words = [word for name, path in paths.items() for word in (str(path), cases[name].dtype)]
        subprocess.run([arguments.python, "-c", DRIVER, *words], check=True)
        for name, case in cases.items():
            theirs, ours = np.load(paths[name]), case.tensor().read_array()
            same = float((theirs == ours).mean())
            failed |= same < (0.99 if case is LARGE else 1.0)
            golden[name] = digest(theirs)
            print(f"{name:10} {theirs.size} weights, {same:.4%} the same")
    if arguments.write_golden:
        del golden["large"]
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="ascii", newline="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
