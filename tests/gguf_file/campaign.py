"""Damages valid files by the thousand and looks for what our checks accept and llama.cpp dies of.

    python -m tests.gguf_file.campaign --count 50000 --seed 1 --output /tmp/killers

Every family the converter knows is a base, and two files without a checkpoint behind them. What is
found is written to the output directory; a file's name says how to make it again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from localllm.conversion.convert import convert
from localllm.errors import InvalidGGUFError
from localllm.gguf_file import read_header
from localllm.gguf_file.preflight import require_loadable
from tests.conversion.tiny_families import FAMILIES, write_tiny_family
from tests.gguf_file.loading import load_all
from tests.gguf_file.mutations import Sample, mutation, take_apart
from tests.tiny_gguf import build_tiny_gguf

_BATCH = 200


def bases(directory: Path) -> dict[str, Path]:
    """Make one valid file of each kind, unless it is there already."""
    found = {f"tiny-{kind}": directory / f"tiny-{kind}.gguf" for kind in ("spm", "bpe")}
    for kind in ("spm", "bpe"):
        build_tiny_gguf(found[f"tiny-{kind}"], width=32, layers=2, vocabulary=kind)
    found["tiny-wide"] = build_tiny_gguf(directory / "tiny-wide.gguf", width=256, layers=1)  # for K-quants
    for family in FAMILIES:
        found[family] = directory / f"{family}.gguf"
        if not found[family].exists():
            convert(write_tiny_family(directory / "checkpoints" / family, family), output=found[family])
    return found


def accepted(
    samples: dict[str, Sample], options: argparse.Namespace, tally: Counter[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the damaged files that reader and preflight let through, each with its name."""
    names = list(samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candidate.gguf"
        for index in range(options.start, options.start + options.count):
            base = names[index % len(names)]
            kind, data = mutation(samples[base], options.seed, index, meaningful=options.meaningful)
            path.write_bytes(data)
            try:
                require_loadable(read_header(path), "candidate")
            except InvalidGGUFError:
                tally["refused"] += 1
                continue
            tally["accepted"] += 1
            yield f"{base}.{options.seed}.{index}.{kind}.gguf", data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--meaningful", action="store_true", help="files that are whole and say something else"
    )
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bases").mkdir(exist_ok=True)
    samples = {name: take_apart(path) for name, path in bases(options.output / "bases").items()}
    started, tally = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        batch: list[Path] = []
        for name, data in accepted(samples, options, tally):
            batch.append(Path(folder) / name)
            batch[-1].write_bytes(data)
            if len(batch) == _BATCH:
                _load(batch, options.output, tally)
                print(dict(tally), file=sys.stderr, flush=True)
        _load(batch, options.output, tally)
    print(f"{dict(tally)} in {time.monotonic() - started:.0f} s")


def _load(batch: list[Path], output: Path, tally: Counter[str]) -> None:
    """Load the files of a batch and empty it; keep the killers."""
    outcome = load_all(batch)
    tally["decoded"] += outcome.survived
    for path, last_words in outcome.killers.items():
        tally["killers"] += 1
        print(f"{path.name}: {last_words}", flush=True)
        (output / path.name).write_bytes(path.read_bytes())
    for path in batch:
        path.unlink()
    batch.clear()


if __name__ == "__main__":
    main()
