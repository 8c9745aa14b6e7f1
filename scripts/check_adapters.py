#!/usr/bin/env python3
"""Compare our merged adapters with PEFT's: what the model computes, and the merged weights.

    python scripts/check_adapters.py --python PYTHON [--write-golden] [ADAPTER ...]

PYTHON is an interpreter with torch, transformers==4.57.6 and peft==0.21.2, in a throw-away place. PEFT loads
each adapter of tests/adapters/tiny_adapters.py onto its tiny checkpoint. The logits it computes, not merged,
are compared with those llama.cpp computes from our merged conversion (difference as a share of their spread),
the weights after `merge_and_unload()` with ours (difference as a share of the largest weight).
`--write-golden` stores samples of both in tests/adapters/golden/, where the tests compare without torch.
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

from tests.adapters.merging import GOLDEN, differences, sample  # noqa: E402
from tests.adapters.tiny_adapters import ADAPTERS, write_tiny_adapter  # noqa: E402
from tests.conversion.logits import TOKENS  # noqa: E402

DRIVER = """
import json, sys, warnings
import numpy, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

tokens = torch.tensor([json.loads(sys.argv[1])])
for folder in sys.argv[2:]:
    exact = {"torch_dtype": torch.float32, "attn_implementation": "eager"}
    base = AutoModelForCausalLM.from_pretrained(f"{folder}/base", **exact)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, f"{folder}/adapter")
    missed = [str(w.message) for w in caught if "keys" in str(w.message)]
    if missed:
        sys.exit(f"{folder}: {missed[0]}")
    with torch.no_grad():
        logits = model.eval()(tokens).logits[0].float().numpy()
        merged = model.merge_and_unload()
    weights = {name: value.float().numpy() for name, value in merged.state_dict().items()}
    numpy.savez(f"{folder}/peft.npz", logits=logits, **weights)
"""


def main() -> int:
    """Print a line for each adapter; return 1 when one differs too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("adapters", nargs="*", metavar="ADAPTER", help=f"of {', '.join(ADAPTERS)}")
    parser.add_argument("--python", required=True, help="an interpreter with torch, transformers and peft")
    parser.add_argument("--write-golden", action="store_true", help="store samples of what PEFT computes")
    arguments = parser.parse_args()
    names = arguments.adapters or list(ADAPTERS)
    if arguments.write_golden:
        write_golden(arguments.python, names)
    failed = False
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            logits, weights = differences(name, Path(folder))
        failed |= logits > 2e-3 or (ADAPTERS[name].merges_like_peft and weights > 1e-5)
        note = "" if ADAPTERS[name].merges_like_peft else "  (PEFT's merge changes both sides of the tie)"
        print(f"{name:15} logits {logits:.1e} of the spread, merged weights {weights:.1e}{note}")
    return int(failed)


def write_golden(python: str, names: list[str]) -> None:
    """Let PEFT load, run and merge every adapter, and keep samples."""
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            ADAPTERS[name].write_base(Path(folder) / name / "base")
            write_tiny_adapter(Path(folder) / name / "adapter", ADAPTERS[name], name)
        paths = [str(Path(folder) / name) for name in names]
        subprocess.run([python, "-c", DRIVER, json.dumps(TOKENS), *paths], check=True)
        for name in names:
            with np.load(Path(folder) / name / "peft.npz") as stored:
                np.savez_compressed(GOLDEN / f"{name}.npz", **sample(dict(stored)))


if __name__ == "__main__":
    sys.exit(main())
