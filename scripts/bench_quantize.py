#!/usr/bin/env python3
"""Measure quantization beside llama.cpp's own tools: time, processor time, how busy the cores are, disk.

    python scripts/bench_quantize.py --quantize LLAMA_QUANTIZE [--reference LLAMA_CPP --python PYTHON]
                                     [--keep DIR] [--level Q4_K_M] [--threads N] [--repetitions 3]

Makes the checkpoint of scripts/bench_convert.py (1.04 billion bfloat16 weights) and a BF16 GGUF file of it,
then runs in turns, each a whole process, and prints medians, the range, and ratios within a repetition:

    own gguf          localllm quantize FILE -q LEVEL --threads N
    llama gguf        llama-quantize FILE OUT LEVEL N
    llama default     llama-quantize FILE OUT LEVEL            (its own choice of threads)
    own checkpoint    localllm quantize CHECKPOINT -q LEVEL --threads N
    two steps         llama.cpp's converter to BF16, then llama-quantize with N threads
    own LEVELS        localllm quantize CHECKPOINT with all of --levels at once, and each of them alone

The files are compared, byte for byte, but for those of the two steps, whose converter writes other metadata.
"busy" is processor time over threads times wall time. "disk" is the most that the run had allocated where it
writes, in parts of the file it leaves there.

LLAMA_QUANTIZE is llama.cpp's tool, built from the sources the binding ships; LLAMA_CPP and PYTHON are what
scripts/check_parity.py describes. Files are flushed to the disk on both sides. Linux only.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench_convert import PRE, Sample, chosen, measure, spread
from check_parity import DRIVER

from localllm.machine import usable_cores

_PAUSE_SECONDS = 0.5  # looking at memory and disk takes time from what is measured


@dataclass(frozen=True)
class Run:
    """One run, and the most bytes that lay where it writes, over those it left there."""

    sample: Sample
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
        bench.compare_files()
    report(runs, arguments)


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
    parser.add_argument("--levels", default="Q4_K_M,Q6_K,Q8_0", help="levels to make at once; empty: none")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    if (arguments.reference is None) != (arguments.python is None):
        parser.error("--reference and --python belong together")
    arguments.levels = [level for level in arguments.levels.split(",") if level]
    return arguments


class Bench:
    """The contestants: what each runs, and where it writes."""

    def __init__(self, arguments: argparse.Namespace, source: Path, folder: Path) -> None:
        self._arguments, self._source, self._folder = arguments, source, folder
        self._environment = {**os.environ, "LOCALLLM_HOME": str(folder / "home")}
        self._gguf = folder / "model-BF16.gguf"
        self._kept: dict[str, Path] = {}
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
        level, threads = self._arguments.level, str(self._arguments.threads)
        tool = self._arguments.quantize.resolve()
        yield "own gguf", lambda: self._own("own gguf", self._gguf, [level])
        yield "llama gguf", lambda: self._run("llama gguf", [[tool, self._gguf, "OUT", level, threads]])
        yield "llama default", lambda: self._run("llama default", [[tool, self._gguf, "OUT", level]])
        yield "own checkpoint", lambda: self._own("own checkpoint", self._source, [level])
        if self._arguments.reference:
            yield "two steps", self._two_steps
        levels = self._arguments.levels
        if len(levels) > 1:
            for some in (*([each] for each in levels), levels):
                name = f"own {','.join(some)}"
                yield name, partial(self._own, name, self._source, some)

    def compare_files(self) -> None:
        """Say whether both sides made the same bytes."""
        own = self._kept["own gguf"]
        for name in ("llama gguf", "own checkpoint"):
            if name in self._kept:
                same = filecmp.cmp(own, self._kept[name], shallow=False)
                print(f"{name}: {'the same bytes as' if same else 'OTHER BYTES THAN'} own gguf")

    def _own(self, name: str, source: Path, levels: Sequence[str]) -> Run:
        command = [sys.executable, "-m", "localllm", "quantize", source, "-q", ",".join(levels), "--force"]
        return self._run(name, [[*command, "-o", "DIR", "--threads", self._arguments.threads, "--quiet"]])

    def _two_steps(self) -> Run:
        place = self._arguments.reference.resolve()
        sixteen = self._folder / "two steps" / "reference-bf16.gguf"
        convert = [self._arguments.python, "-c", DRIVER, place, PRE, self._source.resolve(), "DIR", "bf16"]
        tool, threads = self._arguments.quantize.resolve(), str(self._arguments.threads)
        return self._run("two steps", [convert, [tool, sixteen, "OUT", self._arguments.level, threads]])

    def _run(self, name: str, commands: Sequence[Sequence[Any]]) -> Run:
        """Run commands one after another; their files go to a directory that is emptied before."""
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
        made = [path for path in directory.iterdir() if path.suffix == ".gguf"]
        left = sum(path.stat().st_size for path in made if not path.name.startswith("reference"))
        self._kept[name] = next(path for path in made if not path.name.startswith("reference"))
        total = Sample(
            sum(sample.wall_seconds for sample in samples),
            sum(sample.cpu_seconds for sample in samples),
            max(sample.peak_bytes for sample in samples),
        )
        return Run(total, most[0] / left)


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
    for first, second in (
        ("own gguf", "llama gguf"),
        ("own gguf", "llama default"),
        ("two steps", "own checkpoint"),
        ("own checkpoint", "own gguf"),
    ):
        if first in runs and second in runs:
            print(ratio(runs, first, [second]))
    if len(arguments.levels) > 1:
        together = f"own {','.join(arguments.levels)}"
        print(ratio(runs, together, [f"own {level}" for level in arguments.levels]))


def ratio(runs: dict[str, list[Run]], first: str, others: Sequence[str]) -> str:
    """Format how much time `first` takes of what `others` take together, in the same repetition."""
    pairs = zip(runs[first], *(runs[name] for name in others), strict=True)
    walls = [one.sample.wall_seconds / sum(run.sample.wall_seconds for run in rest) for one, *rest in pairs]
    return f"{first} / {' + '.join(others)}: wall {spread(walls, 3)}"


if __name__ == "__main__":
    main()
