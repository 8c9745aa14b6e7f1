#!/usr/bin/env python3
"""Measure quantization beside llama.cpp's own tools: time, processor time, how busy the cores are, disk.

    python scripts/bench_quantize.py --quantize LLAMA_QUANTIZE [--reference LLAMA_CPP --python PYTHON]
                                     [--keep DIR] [--level Q4_K_M] [--levels all] [--threads N]
                                     [--repetitions 3] [--json FILE]

Makes the checkpoint of scripts/bench_convert.py (1.04 billion bfloat16 weights) and a BF16 GGUF file of it,
then runs in turns, each a whole process, and prints medians, the range, and ratios within a repetition:

    own LEVEL         localllm quantize FILE -q LEVEL --threads N, for each of --levels
    llama LEVEL       llama-quantize FILE OUT LEVEL N, likewise
    llama default     llama-quantize FILE OUT, with --level and its own choice of threads
    own checkpoint    localllm quantize CHECKPOINT -q with --level
    two steps         llama.cpp's converter to BF16, then llama-quantize with --level and N threads
    own at once       localllm quantize CHECKPOINT with all of --levels in one command; held against the
                      converter and then one `llama LEVEL` after another

The files of a level are compared by their digests, but for those of the two steps, whose converter writes
other metadata. "busy" is processor time over threads times wall time. "disk" is the most that the run had
allocated where it writes, in parts of the file it leaves there. --json writes what a chart of seconds per
level needs.

LLAMA_QUANTIZE is llama.cpp's tool, built from the sources the binding ships; LLAMA_CPP and PYTHON are what
scripts/check_parity.py describes. Files are flushed to the disk on both sides. $LOCALLLM_KERNELS is passed
on. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench_convert import PRE, Sample, chosen, measure, spread
from check_parity import DRIVER

from localllm.machine import usable_cores
from localllm.native.kernels import kernels
from localllm.quantization.levels import parse_levels

_PAUSE_SECONDS = 0.5  # looking at memory and disk takes time from what is measured


@dataclass(frozen=True)
class Run:
    """One run, its first command alone, and the most bytes that lay where it writes, over those it left."""

    sample: Sample
    first: Sample
    disk: float


Contestant = Callable[[], Run]


def main() -> None:
    """Build the checkpoint and the GGUF file, run all contestants in turns, print tables and ratios."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder, chosen(arguments, folder) as source:
        bench = Bench(arguments, source, Path(folder))
        contestants = dict(bench.contestants())
        runs: dict[str, list[Run]] = {name: [] for name in contestants}
        for repetition in range(arguments.repetitions):
            for name, contestant in contestants.items():
                run = contestant()
                runs[name].append(run)
                print(f"{repetition + 1} {name}: {line(run, arguments.threads)}", flush=True)
        is_same = bench.compare_files()
    report(runs, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(summary(runs, arguments), indent=1) + "\n")
    if not is_same:
        sys.exit("the files are not the same")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quantize", type=Path, required=True, help="llama.cpp's llama-quantize")
    parser.add_argument("--reference", type=Path, help="llama.cpp's source directory")
    parser.add_argument("--python", help="an interpreter with torch and transformers")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the checkpoint stays")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="whose tokenizer files to take")
    parser.add_argument("--place", type=Path, help="where everything else is written, by default in /tmp")
    parser.add_argument("--level", default="Q4_K_M")
    parser.add_argument("--levels", default="all", help="levels to make one by one and at once")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write seconds per level")
    arguments = parser.parse_args()
    if (arguments.reference is None) != (arguments.python is None):
        parser.error("--reference and --python belong together")
    arguments.levels = [level.name for level in parse_levels([arguments.levels, arguments.level])]
    return arguments


class Bench:
    """The contestants: what each runs, and where it writes."""

    def __init__(self, arguments: argparse.Namespace, source: Path, folder: Path) -> None:
        self._arguments, self._source, self._folder = arguments, source, folder
        self._environment = {**os.environ, "LOCALLLM_HOME": str(folder / "home")}
        self._gguf = folder / "model-BF16.gguf"
        self._digests: defaultdict[str, set[str]] = defaultdict(set)
        command: list[Any] = [
            sys.executable,
            "-m",
            "localllm",
            "convert",
            source,
            "-o",
            self._gguf,
            "--quiet",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def contestants(self) -> Iterator[tuple[str, Contestant]]:
        """Yield each contestant's name and what runs it."""
        threads, tool = str(self._arguments.threads), self._arguments.quantize.resolve()
        level, levels = self._arguments.level, self._arguments.levels
        for each in levels:
            name = f"own {each}"
            yield name, partial(self._own, name, self._gguf, [each])
            words = [tool, self._gguf, "OUT", each]
            yield f"llama {each}", partial(self._run, f"llama {each}", [[*words, threads]], [each])
        yield "llama default", lambda: self._run("llama default", [[tool, self._gguf, "OUT", level]], [level])
        yield "own checkpoint", lambda: self._own("own checkpoint", self._source, [level])
        if self._arguments.reference:
            yield "two steps", self._two_steps
        yield "own at once", lambda: self._own("own at once", self._source, levels)

    def compare_files(self) -> bool:
        """Say whether all sides made the same bytes at every level."""
        for level, digests in self._digests.items():
            print(f"{level}: {'the same bytes everywhere' if len(digests) == 1 else 'OTHER BYTES'}")
        return all(len(digests) == 1 for digests in self._digests.values())

    def _own(self, name: str, source: Path, levels: Sequence[str]) -> Run:
        command = [sys.executable, "-m", "localllm", "quantize", source, "-q", ",".join(levels), "--force"]
        words = [*command, "-o", "DIR", "--threads", self._arguments.threads, "--quiet"]
        return self._run(name, [words], levels)

    def _two_steps(self) -> Run:
        place = self._arguments.reference.resolve()
        sixteen = self._folder / "two steps" / "reference-bf16.gguf"
        convert = [
            self._arguments.python,
            "-c",
            DRIVER,
            place,
            PRE,
            self._source.resolve(),
            "DIR",
            "False",
            "bf16",
        ]
        tool, threads = self._arguments.quantize.resolve(), str(self._arguments.threads)
        return self._run("two steps", [convert, [tool, sixteen, "OUT", self._arguments.level, threads]], ())

    def _run(self, name: str, commands: Sequence[Sequence[Any]], levels: Sequence[str]) -> Run:
        """Run commands one after another; the files of `levels` go to a directory, and after that nowhere."""
        directory = self._folder / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        out = directory / "out.gguf"
        places = {"OUT": str(out), "DIR": f"{directory}{os.sep}"}
        samples = []
        with watching(directory) as most:
            for command in commands:
                words = [places.get(str(word), word) for word in command]
                samples.append(
                    flushed(measure(words, spare(directory), self._environment, _PAUSE_SECONDS), directory)
                )
        made = [path for path in directory.glob("*.gguf") if not path.name.startswith("reference")]
        left = sum(path.stat().st_size for path in made)
        for level in levels:
            path = out if out in made else next(p for p in made if p.stem.endswith(f"-{level}"))
            self._digests[level].add(digest(path))
        shutil.rmtree(directory)
        total = Sample(
            sum(sample.wall_seconds for sample in samples),
            sum(sample.cpu_seconds for sample in samples),
            max(sample.peak_bytes for sample in samples),
        )
        return Run(total, samples[0], most[0] / left)


def spare(directory: Path) -> Path:
    """Return a new file for `measure` to flush and remove; `flushed` does that for what was written."""
    path = directory / "spare"
    path.touch()
    return path


def flushed(sample: Sample, directory: Path) -> Sample:
    """Flush the files of `directory` to the disk, and count that, too."""
    begin = time.perf_counter()
    for path in directory.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    return replace(sample, wall_seconds=sample.wall_seconds + time.perf_counter() - begin)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def watching(directory: Path) -> Iterator[list[int]]:
    """Yield a list whose only item is the most bytes allocated in a directory so far."""
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE_SECONDS):
            most[0] = max(most[0], sum(map(allocated, directory.rglob("*"))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def allocated(path: Path) -> int:
    """Return how many bytes a file takes on the disk; nothing when it is gone."""
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def line(run: Run, threads: int) -> str:
    """Format one run."""
    sample = run.sample
    busy = sample.cpu_seconds / (threads * sample.wall_seconds)
    return (
        f"{sample.wall_seconds:.2f} s, {sample.cpu_seconds:.2f} CPU-s, busy {busy:.0%}, "
        f"{sample.peak_bytes / 1e6:.0f} MB, disk {run.disk:.2f}"
    )


def report(runs: dict[str, list[Run]], arguments: argparse.Namespace) -> None:
    """Print medians with the range, then the ratios."""
    print(f"\n{'':24}{'wall seconds':>22}{'CPU seconds':>22}{'busy':>8}{'private MB':>12}{'disk':>7}")
    for name, some in runs.items():
        walls = [run.sample.wall_seconds for run in some]
        cpus = [run.sample.cpu_seconds for run in some]
        busy = statistics.median(c / (arguments.threads * w) for c, w in zip(cpus, walls, strict=True))
        memory = statistics.median(run.sample.peak_bytes for run in some) / 1e6
        disk = max(run.disk for run in some)
        print(f"{name:24}{spread(walls, 1):>22}{spread(cpus, 1):>22}{busy:>8.0%}{memory:>12.0f}{disk:>7.2f}")
    print()
    level, levels = arguments.level, arguments.levels
    for each in levels:
        print(ratio(runs, f"own {each}", f"llama {each}"))
    print(ratio(runs, f"own {level}", "llama default"))
    if "two steps" in runs:
        print(ratio(runs, "own checkpoint", "two steps"))
        print(f"own at once / the converter and {len(levels)} runs: wall {spread(at_once(runs, levels), 3)}")


def ratio(runs: dict[str, list[Run]], first: str, second: str) -> str:
    """Format how much of the time of `second` in the same repetition `first` takes."""
    pairs = zip(runs[first], runs[second], strict=True)
    walls = [one.sample.wall_seconds / other.sample.wall_seconds for one, other in pairs]
    return f"{first} / {second}: wall {spread(walls, 3)}"


def at_once(runs: dict[str, list[Run]], levels: Sequence[str]) -> list[float]:
    """Return how much of the time of the converter and a run for each level one command takes."""
    rows = zip(
        runs["own at once"], runs["two steps"], *(runs[f"llama {each}"] for each in levels), strict=True
    )
    return [
        own.sample.wall_seconds
        / (two_steps.first.wall_seconds + sum(run.sample.wall_seconds for run in single))
        for own, two_steps, *single in rows
    ]


def summary(runs: dict[str, list[Run]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a chart shows: the seconds of every repetition, by level and by contestant."""
    seconds = {name: [run.sample.wall_seconds for run in some] for name, some in runs.items()}
    return {
        "machine": f"{platform.system()} {platform.machine()}, {processor()}",
        "threads": arguments.threads,
        "kernels": kernels().name,
        "levels": {
            level: {"own": seconds[f"own {level}"], "llama.cpp": seconds[f"llama {level}"]}
            for level in arguments.levels
        },
        "seconds": seconds,
        "peak_memory_bytes": {
            name: max(run.sample.peak_bytes for run in some) for name, some in runs.items()
        },
    }


def processor() -> str:
    """Return the processor's name as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "an unknown processor")


if __name__ == "__main__":
    main()
