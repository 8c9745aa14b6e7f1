#!/usr/bin/env python3
"""Compare what llama.cpp computes from our conversions with what transformers computes from the checkpoints.

    python scripts/check_logits.py --python PYTHON [--write-golden] [FAMILY ...]

PYTHON is an interpreter with torch and transformers==4.57.6, in a throw-away place (scripts/check_parity.py
tells how to make it). Families marked `transformers=5` need 5.23.0 for `--write-golden`: name them.

Each tiny checkpoint of tests/conversion/tiny_families.py is converted to F32 and run on the same tokens by
both; the largest difference of two logits is given as a share of their spread, the largest logit minus the
smallest. `--write-golden` stores the names and shapes of the checkpoints' tensors and the logits of
transformers in tests/conversion/families/, where the tests compare with them without torch.
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

from tests.conversion.logits import TOKENS, load_golden, relative_difference, runtime_logits  # noqa: E402
from tests.conversion.tiny_families import FAMILIES, SHAPES, write_tiny_family  # noqa: E402

SHAPES_DRIVER = """
import json, sys
import transformers
from transformers import AutoConfig
from safetensors import safe_open
try:
    from transformers.modeling_utils import no_init_weights
except ImportError:
    from transformers.initialization import no_init_weights

for folder in sys.argv[1:]:
    config = AutoConfig.from_pretrained(folder)
    with no_init_weights():
        model = getattr(transformers, config.architectures[0])(config)
    if transformers.__version__ >= "5":  # it keeps experts fused, but saves them one by one
        model.tie_weights()
        model.save_pretrained(f"{folder}/saved")
        with safe_open(f"{folder}/saved/model.safetensors", "numpy") as stored:
            shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}
        json.dump(shapes, open(f"{folder}/shapes.json", "w"))
        continue
    is_tied = config.get_text_config().tie_word_embeddings
    tied = set(model._tied_weights_keys or ()) if is_tied else set()
    shapes = {name: list(value.shape) for name, value in model.state_dict().items() if name not in tied}
    json.dump(shapes, open(f"{folder}/shapes.json", "w"))
"""
LOGITS_DRIVER = """
import json, sys
import numpy, torch, transformers

tokens = torch.tensor([json.loads(sys.argv[1])])
for folder in sys.argv[2:]:
    exact = {"torch_dtype": torch.float32, "attn_implementation": "eager"}
    [name] = json.load(open(f"{folder}/config.json"))["architectures"]
    model = getattr(transformers, name).from_pretrained(folder, **exact)
    with torch.no_grad():
        logits = model.eval()(tokens).logits[0].float().numpy()
    numpy.save(f"{folder}/logits.npy", logits)
"""


def main() -> int:
    """Print a line for each family; return 1 when one differs too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--python", required=True, help="an interpreter with torch and transformers")
    parser.add_argument("--write-golden", action="store_true", help="store shapes and logits")
    arguments = parser.parse_args()
    names = arguments.families or list(FAMILIES)
    if arguments.write_golden:
        write_golden(arguments.python, names)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            found = runtime_logits(write_tiny_family(Path(folder) / name, name))
            difference = relative_difference(found, load_golden(name))
            failed |= difference > 2e-3
            print(f"{name:12} largest difference {difference:.1e} of the spread")
    return int(failed)


def write_golden(python: str, names: list[str]) -> None:
    """Ask transformers for the tensors of each configuration, then for the logits of each checkpoint."""
    SHAPES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        directories = {name: Path(folder) / name for name in names}
        for name, directory in directories.items():
            directory.mkdir()
            (directory / "config.json").write_text(json.dumps(FAMILIES[name].full_config()))
        paths = [str(directory) for directory in directories.values()]
        subprocess.run([python, "-c", SHAPES_DRIVER, *paths], check=True)
        for name, directory in directories.items():
            shapes = json.loads((directory / "shapes.json").read_text())
            lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in shapes.items())
            (SHAPES / f"{name}.json").write_text(f"{{\n{lines}\n}}\n", newline="\n")
            write_tiny_family(directory, name)
        subprocess.run([python, "-c", LOGITS_DRIVER, json.dumps(TOKENS), *paths], check=True)
        for name, directory in directories.items():
            logits = np.load(directory / "logits.npy")
            np.savez_compressed(SHAPES / f"{name}.npz", logits=logits)


if __name__ == "__main__":
    sys.exit(main())
