#!/usr/bin/env python3
"""Score the demo model on its held-out tasks through localllm itself: converted, quantized, loaded and asked.

For each level it prints how many held-out questions were answered right, how often something told earlier
in the conversation was said back, and the perplexity of `eval.txt`. An answer is right when the task's
`expect` is found in it, case aside. Answers are greedy, so the figures repeat. The files are made in a
temporary folder, unless `--keep` is given.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import localllm
from localllm import evaluation
from localllm.machine import usable_cores
from localllm.native.worker import run_job

ROOT = Path(__file__).resolve().parent.parent
UNQUANTIZED = "bf16"
LEVELS = (UNQUANTIZED, "Q8_0", "Q4_K_M", "Q2_K")
KINDS = ("fact", "memory")


@dataclass(frozen=True, slots=True)
class Score:
    """How one level did: right answers and questions asked for each kind of task, and the perplexity."""

    level: str
    size_bytes: int
    seconds: float
    perplexity: float
    right: dict[str, int]
    asked: dict[str, int]

    def share(self, kind: str) -> float:
        """The right answers as a fraction; 0 when nothing was asked."""
        return self.right[kind] / self.asked[kind] if self.asked[kind] else 0.0

    def as_json(self) -> dict[str, Any]:
        """The score under the names the project uses in JSON."""
        kinds = {
            kind: {"right": self.right[kind], "asked": self.asked[kind], "share": self.share(kind)}
            for kind in KINDS
        }
        return {
            "level": self.level,
            "size_bytes": self.size_bytes,
            "seconds": self.seconds,
            "perplexity": self.perplexity,
            **kinds,
        }


def read_tasks(path: Path) -> list[dict[str, Any]]:
    """Read the held-out tasks, one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def make_files(checkpoint: Path, levels: Iterable[str], folder: Path) -> dict[str, Path]:
    """Convert the checkpoint and quantize it to each level; returns the file of each level."""
    source = folder / "demo-BF16.gguf"
    localllm.convert(checkpoint, output=source)
    files = {UNQUANTIZED: source}
    for level in levels:
        if level != UNQUANTIZED:
            files[level] = folder / f"demo-{level}.gguf"
            localllm.quantize(source, [level], output=files[level])
    return files


def perplexities(files: dict[str, Path], text: Path) -> dict[str, float]:
    """Measure every file on all of `text`, in windows of 512 tokens."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="score-demo-") as folder:
        for level, path in files.items():
            scores = Path(folder) / f"{level}.npz"
            arguments = {
                "path": str(path),
                "texts": [str(text)],
                "chat_format": False,
                "context_size": evaluation.DEFAULT_CONTEXT,
                "first_chunk": 0,
                "chunks": sys.maxsize,
                "threads": usable_cores(),
                "reference": None,
                "writes_reference": False,
                "scores": str(scores),
            }
            run_job(evaluation.EVALUATE_JOB, arguments)
            quality = evaluation.summarise(evaluation.Scores.load(scores))
            assert quality.perplexity is not None
            found[level] = quality.perplexity.value
    return found


def score_file(
    level: str, path: Path, tasks: list[dict[str, Any]], perplexity: float, *, show_wrong: bool
) -> Score:
    """Ask one file every task, greedily."""
    options = localllm.SamplingOptions(temperature=0.0, max_tokens=96)
    right, asked = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    started = time.monotonic()
    with localllm.load(path) as engine:
        for task in tasks:
            text = engine.answer(task["messages"], options).text
            is_right = re.search(task["expect"], text, re.IGNORECASE) is not None
            asked[task["kind"]] += 1
            right[task["kind"]] += is_right
            if show_wrong and not is_right:
                question = task["messages"][-1]["content"]
                print(f"{level}: {task['topic']}: {question} -> {text}", file=sys.stderr)
    seconds = time.monotonic() - started
    return Score(level, path.stat().st_size, seconds, perplexity, right, asked)


def table(scores: list[Score]) -> str:
    """The scores as a Markdown table, as the model card shows it."""
    lines = ["| Level | File | Facts right | Memory turns right | Perplexity |", "|---|---:|---:|---:|---:|"]
    for score in scores:
        cells = [f"{score.right[kind]}/{score.asked[kind]} ({score.share(kind):.1%})" for kind in KINDS]
        size = f"{score.size_bytes / 1e6:.1f} MB"
        lines.append(f"| {score.level} | {size} | {cells[0]} | {cells[1]} | {score.perplexity:.3f} |")
    return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=ROOT / "models/demo", help="the checkpoint to score"
    )
    parser.add_argument(
        "--level", action="append", choices=LEVELS, help="a level to score (default: all four)"
    )
    parser.add_argument(
        "--keep", type=Path, help="an empty folder to make the GGUF files in, and to leave them there"
    )
    parser.add_argument("--show-wrong", action="store_true", help="print every wrong answer to stderr")
    parser.add_argument("--json", action="store_true", help="print JSON and no table")
    return parser


def main() -> None:
    """Make the files, score them, print the table."""
    options = arguments().parse_args()
    tasks = read_tasks(options.checkpoint / "heldout.jsonl")
    levels = options.level or LEVELS
    with tempfile.TemporaryDirectory(prefix="score-demo-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made = make_files(options.checkpoint, levels, folder)
        files = {level: made[level] for level in levels}
        measured = perplexities(files, options.checkpoint / "eval.txt")
        scores = [
            score_file(level, path, tasks, measured[level], show_wrong=options.show_wrong)
            for level, path in files.items()
        ]
    if options.json:
        print(
            json.dumps(
                {"schema": 1, "command": "score_demo", "data": [score.as_json() for score in scores]},
                indent=2,
            )
        )
    else:
        print(table(scores))


if __name__ == "__main__":
    main()
