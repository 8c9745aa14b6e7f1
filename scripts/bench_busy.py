#!/usr/bin/env python3
"""Measure what a busy machine costs: one model alone and two at once, with our spinning and GNU OpenMP's.

    python scripts/bench_busy.py MODEL.gguf

Prints tokens per second of generation for each case and the ratios. Two processes share the cores fairly when
each reaches half of what one reaches alone. The last case can take minutes: that is what is being shown.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

LIBRARY_DEFAULT = "300000"  # GNU OpenMP's when OMP_WAIT_POLICY is not set


def main() -> None:
    """Run the four cases and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL.gguf")
    model = parser.parse_args().model
    ours, default = speeds(model, "ours", None), speeds(model, "GNU OpenMP's default", LIBRARY_DEFAULT)
    print(f"alone, ours / default: {ours[0] / default[0]:.2f}")
    print(f"two at once, ours / default: {ours[1] / default[1]:.1f}")


def speeds(model: Path, name: str, spins: str | None) -> list[float]:
    """Measure one process alone and two at once; print and return both speeds."""
    found = []
    for processes in (1, 2):
        found.append(generation_speed(model, processes, spins))
        print(f"{name}, {processes} at once: {found[-1]:.1f} tokens/s each", flush=True)
    return found


def generation_speed(model: Path, processes: int, spins: str | None) -> float:
    """Compare the model in several processes at the same time; return the mean tokens per second."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_"))}
    if spins:
        environment["GOMP_SPINCOUNT"] = spins
    command = [sys.executable, "-m", "localllm", "compare", model, "--json", "--repetitions", "1"]
    command += ["--chunks", "2"]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(processes)
    ]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit(f"`localllm compare {model}` failed; run it to see why")
    rows = [json.loads(output)["data"]["measurements"][0] for output in outputs]
    return sum(row["generation_tokens_per_second"]["value"] for row in rows) / processes


if __name__ == "__main__":
    main()
