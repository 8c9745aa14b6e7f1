#!/usr/bin/env python3
"""Hold whole files at every level against llama_model_quantize's, with each instruction set and with none.

    python scripts/check_levels.py MODEL.gguf... [--tied DIR] [--untied DIR] [--levels all] [--threads N]
                                   [--instructions off,sse2,avx2] [--place DIR]

Each MODEL, a GGUF file that is not quantized, is quantized at all levels by `localllm quantize`, and level by
level with `--engine llama.cpp`. --tied and --untied make (or use, when it is there) the checkpoint of
scripts/bench_convert.py, 1.04 billion weights, in a directory; --untied adds an output layer of its own.
Prints a line for each model and instruction set, and every level that differs: there must be none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench_convert import HIDDEN, ROWS, SEED, WEIGHTS, make_checkpoint, shapes, write_weights
from bench_quantize import digest

from localllm.kernels import LIBRARY
from localllm.machine import usable_cores
from localllm.native.kernels import OFF, VARIABLE, instructions_of, open_library
from localllm.quantization.levels import parse_levels


def main() -> int:
    """Print what was compared; return 1 when a file differs."""
    arguments = parse_arguments()
    differing = 0
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder:
        for model in models(arguments, Path(folder)):
            expected = by_llama_cpp(model, arguments, Path(folder))
            for instructions in arguments.instructions:
                begin = time.perf_counter()
                found = at_once(model, instructions, arguments, Path(folder))
                wrong = [level for level in arguments.levels if found[level] != expected[level]]
                differing += len(wrong)
                words = " ".join([f"{len(found)} levels, {len(wrong)} differ", *wrong])
                print(
                    f"{model.name} {instructions}: {words} ({time.perf_counter() - begin:.0f} s)", flush=True
                )
    return 1 if differing else 0


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL")
    parser.add_argument("--tied", type=Path, metavar="DIR")
    parser.add_argument("--untied", type=Path, metavar="DIR")
    parser.add_argument("--levels", default="all")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--instructions", type=lambda text: text.split(","), default=None)
    parser.add_argument("--place", type=Path, help="where files are written, by default in /tmp")
    arguments = parser.parse_args()
    arguments.levels = [level.name for level in parse_levels([arguments.levels])]
    arguments.instructions = arguments.instructions or [OFF, *instructions_of(open_library(LIBRARY))]
    return arguments


def models(arguments: argparse.Namespace, folder: Path) -> Iterator[Path]:
    """Yield the GGUF files, one after another; those of the checkpoints are made in `folder`."""
    yield from arguments.models
    for name, directory in (("tied", arguments.tied), ("untied", arguments.untied)):
        if directory is None:
            continue
        if not (directory / WEIGHTS).is_file():
            make_checkpoint(directory, None)
            if name == "untied":
                untie(directory)
        made = folder / f"{name}-BF16.gguf"
        run(["convert", directory, "-o", made])
        yield made
        made.unlink()


def untie(directory: Path) -> None:
    """Give the checkpoint in `directory` an output layer."""
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": False}))
    tensors = {**shapes(ROWS), "lm_head.weight": (ROWS, HIDDEN)}
    part = directory / f".{WEIGHTS}.part"
    write_weights(part, dict(sorted(tensors.items())), seed=SEED + 1)
    part.rename(directory / WEIGHTS)


def by_llama_cpp(model: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the digest of each level's file as llama.cpp's own quantizer writes it."""
    digests = {}
    for level in arguments.levels:
        out = folder / "llama.gguf"
        run(["quantize", model, "-q", level, "-o", out, "--engine", "llama.cpp"], arguments.threads)
        digests[level] = digest(out)
        out.unlink()
    return digests


def at_once(model: Path, instructions: str, arguments: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the digest of each level's file as our driver writes them, all in one run."""
    levels = ",".join(arguments.levels)
    directory = folder / instructions
    directory.mkdir()
    run(["quantize", model, "-q", levels, "-o", f"{directory}{os.sep}"], arguments.threads, instructions)
    digests = {}
    for level in arguments.levels:
        path = next(directory.glob(f"*-{level}.gguf"))
        digests[level] = digest(path)
        path.unlink()
    directory.rmdir()
    return digests


def run(words: Sequence[object], threads: int | None = None, instructions: str = "") -> None:
    """Run localllm, quietly. Raise CalledProcessError."""
    command = [sys.executable, "-m", "localllm", *map(str, words), "--quiet"]
    if threads is not None:
        command += ["--threads", str(threads)]
    environment = {**os.environ, VARIABLE: instructions}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


if __name__ == "__main__":
    sys.exit(main())
