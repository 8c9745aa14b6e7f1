#!/usr/bin/env python3
"""Compare perplexity and KL divergence with llama-perplexity's, and what they cost.

    python scripts/check_evaluation.py MODEL.gguf --reference REFERENCE.gguf --perplexity llama-perplexity

Both evaluate the same chunks of the same text on the same number of threads, in turns. Bars: perplexities
differ by no more than 0.1 %, statistics of the KL divergence by no more than 2 %; an evaluation takes no more
than 1.15 times as long (from when the model is loaded and the text cut, on both sides; the fastest of
`--repetitions` counts); the stored predictions are no larger than a tenth of llama-perplexity's
logits; peak memory is no more than the model and 1 GB. Exit status 1 when one is missed.

llama-perplexity rounds the reference's log-probabilities to 16 bits, which moves each divergence by up to
about 3e-5 nats, and prints few digits. Where a statistic differs by more than 2 % and what printing rounds
off, it is told how far the reference is from itself there, and that much more counts as the same.
Without `--perplexity` our figures are printed alone.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localllm.evaluation import (  # noqa: E402
    EVALUATE_JOB,
    Quality,
    ReferenceStore,
    Scores,
    Uncertain,
    evaluation_texts,
    summarise,
)
from localllm.machine import usable_cores  # noqa: E402
from localllm.native.worker import run_job  # noqa: E402

PERPLEXITY_BAR, DIVERGENCE_BAR, TIME_BAR, DISK_BAR, MEMORY_BAR = 1e-3, 2e-2, 1.15, 0.1, 1e9
ATTEMPTS = 5
# llama-perplexity's lines, our names, what its numbers are divided by
LINES = {
    "Mean PPL(Q)": ("perplexity", 1),
    "Mean PPL(Q)/PPL(base)": ("perplexity_ratio", 1),
    "Mean    KLD": ("kl_divergence", 1),
    "99.0%   KLD": ("kl_divergence_p99", 1),
    "Same top p": ("same_top_token", 100),
    "RMS Δp": ("rms_delta_p", 100),
}
# when it begins to evaluate: minutes, seconds, milliseconds, microseconds
BEGINS = re.compile(r"^(\d+)\.(\d\d)\.(\d{3})\.\d{3} I .*over \d+ chunks", re.MULTILINE)
NUMBERS = re.compile(r"\s*:\s*(-?[\d.]+|-?nan)(?:\s*±\s*(-?[\d.]+|-?nan))?")


@dataclass(frozen=True)
class Printed(Uncertain):
    """A figure as it was printed, which is up to `rounding` from the true one."""

    rounding: float


@dataclass(frozen=True)
class Run:
    """One evaluation: its figures, seconds without and with what comes before, and peak memory in bytes."""

    figures: Mapping[str, Uncertain]
    seconds: float
    whole_seconds: float
    peak_bytes: int


class Check:
    """The command line, a scratch directory, and whether a bar was missed."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options = options
        self.scratch = scratch
        self.failed = False
        texts, _ = evaluation_texts([options.model], [options.text] if options.text else [])
        self.text = texts[0]

    def run(self) -> None:
        reference, model = self.options.reference, self.options.model
        if reference is None:
            self.compare("perplexity", model, lambda: self.ours(model, None), ["-f", self.text])
            return
        logits, store = self.scratch / "logits", self.scratch / "reference"
        saving = ["-f", self.text, "--save-all-logits", logits]
        self.compare("reference", reference, lambda: self.ours(reference, store, writes=True), saving)
        size = ReferenceStore.open(store).size_bytes
        line = f"  disk: {size / 1e6:.2f} MB"
        if logits.exists():
            share = size / logits.stat().st_size
            line += f", logits {logits.stat().st_size / 1e6:.2f} MB, share {self.judged(share, DISK_BAR)}"
        print(line)
        divergence = ["--kl-divergence", "--kl-divergence-base", logits]
        self.compare("model", model, lambda: self.ours(model, store), divergence)

    def compare(self, name: str, model: Path, ours: Callable[[], Run], peer_options: list[Any]) -> None:
        """Run both in turns and print their figures side by side."""
        found, expected = [], []
        for _ in range(self.options.repetitions):
            found.append(ours())
            if self.options.perplexity:
                expected.append(self.peer(model, peer_options))
        print(f"{name}: {model}")
        for figure, value in found[0].figures.items():
            self.print_figure(figure, value, expected[0].figures.get(figure) if expected else None)
        seconds = min(run.seconds for run in found)
        line = f"  time: {seconds:.2f} s"
        if expected:
            theirs = min(run.seconds for run in expected)
            line += f", llama-perplexity {theirs:.2f} s, ratio {self.judged(seconds / theirs, TIME_BAR)}"
            whole = min(run.whole_seconds for run in found), min(run.whole_seconds for run in expected)
            line += f"; whole processes {whole[0]:.2f} and {whole[1]:.2f} s"
        print(line)
        peak, size = max(run.peak_bytes for run in found), model.stat().st_size
        line = f"  peak memory: {peak / 1e6:.0f} MB, {self.judged((peak - size) / 1e6, MEMORY_BAR / 1e6)}"
        line += f" MB more than the file of {size / 1e6:.0f} MB"
        if expected:
            line += f"; llama-perplexity {max(run.peak_bytes for run in expected) / 1e6:.0f} MB"
        print(line)

    def print_figure(self, name: str, ours: Uncertain, theirs: Uncertain | None) -> None:
        line = f"  {name:18} {ours.value:.7g} ± {ours.stderr:.2g}"
        if theirs is None:
            print(line)
            return
        line += f"   llama-perplexity {theirs.value:.7g} ± {theirs.stderr:.2g}"
        bar = PERPLEXITY_BAR if name == "perplexity" else DIVERGENCE_BAR
        difference = abs(ours.value - theirs.value)
        rounding = theirs.rounding if isinstance(theirs, Printed) else 0.0
        line += f"   relative difference {difference / (abs(theirs.value) or 1):.2e}"
        if difference > bar * abs(theirs.value) + rounding:
            noise = self.noise(name)
            within = difference <= bar * abs(theirs.value) + rounding + noise
            line += f" (the reference is {noise:.2g} from itself)" + ("" if within else " MISSED")
            self.failed |= not within
        print(line)

    def noise(self, name: str) -> float:
        """Return a statistic of llama-perplexity's for the reference compared with itself."""
        logits = self.scratch / "logits"
        if not logits.exists():
            return 0.0
        run = self.peer(self.options.reference, ["--kl-divergence", "--kl-divergence-base", logits])
        value = abs(run.figures[name].value)
        return abs(value - 1) if name in ("perplexity_ratio", "same_top_token") else value

    def judged(self, value: float, bar: float) -> str:
        self.failed |= not value <= bar
        return f"{value:.3g}" + ("" if value <= bar else f" MISSED ({bar:g})")

    def ours(self, model: Path, reference: Path | None, *, writes: bool = False) -> Run:
        path = self.scratch / "scores.npz"
        arguments = {
            "path": str(model),
            "texts": [str(self.text)],
            "chat_format": False,
            "context_size": self.options.context,
            "first_chunk": 0,
            "chunks": self.options.chunks or sys.maxsize,
            "threads": self.options.threads,
            "reference": str(reference) if reference else None,
            "writes_reference": writes,
            "scores": str(path),
        }
        started = time.perf_counter()
        result = run_job(EVALUATE_JOB, arguments)
        seconds = time.perf_counter() - started
        found = figures(summarise(Scores.load(path)))
        return Run(found, result["seconds"], seconds, result["peak_memory_bytes"])

    def peer(self, model: Path, more: list[Any]) -> Run:
        """Run llama-perplexity, again where it ended before it had printed all: it does at times."""
        wanted = "kl_divergence_p99" if "--kl-divergence" in more else "perplexity"
        for _ in range(ATTEMPTS):
            run = self.peer_once(model, more)
            if wanted in run.figures:
                return run
        raise SystemExit(f"{self.options.perplexity} printed no {wanted}; are there 100 tokens to score?")

    def peer_once(self, model: Path, more: list[Any]) -> Run:
        options = self.options
        command = [options.perplexity, "-m", model, "-c", options.context, "-t", options.threads, *more]
        command += ["--chunks", options.chunks or -1]
        outputs = [self.scratch / "figures", self.scratch / "messages"]  # one file would mix up their lines
        started = time.perf_counter()
        with outputs[0].open("wb") as file, outputs[1].open("wb") as errors:
            process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        text = "\n".join(output.read_text("utf-8", "replace") for output in outputs)
        if status:
            raise SystemExit(f"{options.perplexity} failed:\n{text[-2000:]}")
        before = BEGINS.search(text)
        assert before, text[-2000:]
        minutes, whole, thousandths = (int(part) for part in before.groups())
        lead = minutes * 60 + whole + thousandths / 1000
        return Run(peer_figures(text), seconds - lead, seconds, usage.ru_maxrss * 1024)


def figures(quality: Quality) -> dict[str, Uncertain]:
    """Return what was measured, by name."""
    return {name: value for name, value in vars(quality).items() if isinstance(value, Uncertain)}


def peer_figures(text: str) -> dict[str, Printed]:
    """Return the figures in llama-perplexity's output, by our names."""
    found: dict[str, Printed] = {}
    final = re.search(r"PPL = ([\d.]+) \+/- ([\d.]+)", text)
    if final:
        found["perplexity"] = printed(final[1], final[2])
    for line in text.splitlines():
        for begin, (name, divisor) in LINES.items():
            numbers = NUMBERS.match(line.removeprefix(begin)) if line.startswith(begin) else None
            if numbers:
                found[name] = printed(numbers[1], numbers[2] or "0", divisor)
    return found


def printed(value: str, stderr: str, divisor: int = 1) -> Printed:
    """Return a figure from its digits."""
    decimals = len(value.partition(".")[2])
    return Printed(float(value) / divisor, float(stderr) / divisor, 0.5 * 10**-decimals / divisor)


def main() -> int:
    """Print the comparison; return 1 when a bar was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("--reference", type=Path, help="a GGUF file to compute divergences from")
    parser.add_argument("--perplexity", type=Path, help="llama-perplexity")
    parser.add_argument("--text", type=Path, help="by default the model's own, else the sample")
    parser.add_argument("--chunks", type=int, help="how many of the text's chunks; by default all")
    parser.add_argument("--context", type=int, default=512, help="tokens of a chunk")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repetitions", type=int, default=1)
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(parser.parse_args(), Path(scratch))
        check.run()
    return int(check.failed)


if __name__ == "__main__":
    sys.exit(main())
