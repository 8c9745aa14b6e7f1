#!/usr/bin/env python3
"""Hold the speeds `localllm compare` measures against those of llama.cpp's own llama-bench on the same file.

The two take turns, one going first in one round and the other in the next, so that a machine that warms up or
has other work slows both alike. Printed are the medians over the rounds and their ratio, for reading a prompt
(pp) and for generating (tg). Without `--peer` only localllm's speeds are printed. Timings are no test: run
this on a machine that does nothing else.

While other programs run, waiting threads of localllm spin for a shorter time than those of llama-bench
(docs/decisions/0005), which a model as small as the demo pays for.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from localllm.machine import usable_cores
from localllm.native.worker import run_job

Speeds = dict[str, float]


def our_speeds(model: Path, options: argparse.Namespace) -> Speeds:
    """Measure in a child process, as `compare` does."""
    found = run_job(
        "localllm.benchmark.job:benchmark_job",
        {
            "path": str(model),
            "prompt_tokens": options.prompt_tokens,
            "generated_tokens": options.generated_tokens,
            "depth": options.depth,
            "repetitions": options.repetitions,
            "threads": options.threads,
        },
    )
    return {kind: statistics.fmean(found[f"{kind}_samples"]) for kind in ("prompt", "generation")}


def peer_speeds(peer: Path, model: Path, options: argparse.Namespace) -> Speeds:
    """Run llama-bench with the same settings."""
    command: list[Any] = [peer, "-m", model, "-o", "json", "-r", options.repetitions, "-t", options.threads]
    command += ["-p", options.prompt_tokens, "-n", options.generated_tokens, "-d", options.depth]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    tests = json.loads(run.stdout)
    return {"prompt" if test["n_prompt"] else "generation": test["avg_ts"] for test in tests}


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("--peer", type=Path, help="the llama-bench to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run (default: 5)")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generated-tokens", type=int, default=128)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--threads", type=int, default=usable_cores())
    return parser


def main() -> None:
    """Run the rounds, print the medians of the speeds and of the ratio within a round."""
    options = arguments().parse_args()
    ours: list[Speeds] = []
    theirs: list[Speeds] = []
    for number in range(options.rounds):
        turns = [lambda: ours.append(our_speeds(options.model, options))]
        if options.peer:
            turns.append(lambda: theirs.append(peer_speeds(options.peer, options.model, options)))
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    for kind, label in (("prompt", "pp"), ("generation", "tg")):
        line = f"{label}: {statistics.median(speeds[kind] for speeds in ours):.2f} tokens/s"
        if theirs:
            other = statistics.median(speeds[kind] for speeds in theirs)
            ratios = sorted(own[kind] / peer[kind] for own, peer in zip(ours, theirs, strict=True))
            middle, low, high = statistics.median(ratios), ratios[0], ratios[-1]
            line += f", llama-bench {other:.2f}, ratio {middle:.3f} ({low:.3f} to {high:.3f})"
        print(line)


if __name__ == "__main__":
    main()
