#!/usr/bin/env python3
"""Measure a look into a model with a large vocabulary: time and memory, beside the gguf package's reader.

    python scripts/bench_inspect.py [--repetitions N] [--vocabulary N] [--skip-reference]

Makes a Gemma 3 4B header with 262,144 tokens, scores and token types, its weights holes, and prints the
median, the range and, for processes, the most memory resident, of

- `localllm.inspect(path)` in a process that has imported it, the first call not counted;
- `localllm inspect PATH` as a process of its own, and with `--json` and `--kv`;
- `gguf.GGUFReader(path)`, which decodes nothing but takes the header apart, and its `gguf-dump PATH`.

What else runs on the machine shows in the range. Start it without PYTHONDONTWRITEBYTECODE, or every process
compiles localllm anew.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from localllm.gguf_file.format import Key, ValueType  # noqa: E402
from localllm.gguf_file.writer import TypedValue, array, string, uint32  # noqa: E402
from tests.inspection.shaped_gguf import GEMMA3_4B, write_shaped_gguf  # noqa: E402

VOCABULARY = 262_144
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "<end_of_turn>")
TEMPLATE = "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}{% endfor %}"
NORMAL, CONTROL = 1, 3
IN_PROCESS = """
import json, sys, time
from pathlib import Path
{imports}
seconds = []
for _ in range(int(sys.argv[2]) + 1):
    started = time.perf_counter()
    {call}
    seconds.append(time.perf_counter() - started)
print(json.dumps(seconds[1:]))
"""
FUNCTIONS = {
    "localllm.inspect": ("import localllm", "localllm.inspect(sys.argv[1])"),
    "gguf.GGUFReader": ("import gguf", "gguf.GGUFReader(sys.argv[1])"),
}


@dataclass(frozen=True)
class Measured:
    """The runs of one contestant: seconds, and for processes the most memory one had resident, in bytes."""

    seconds: Sequence[float]
    peak_bytes: int | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    """Make the file, measure everything, print a line for each and the ratios."""
    arguments = parse_arguments()
    if arguments.make:
        write_shaped_gguf(arguments.make, GEMMA3_4B, vocabulary=vocabulary(arguments.vocabulary))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        # a process of its own: what a parent has resident counts as its children's
        subprocess.run([sys.executable, *sys.argv, "--make", str(path)], check=True)
        found = dict(measured(path, arguments.repetitions, not arguments.skip_reference))
    for pair in (("localllm.inspect", "gguf.GGUFReader"), ("localllm inspect", "gguf-dump")):
        if all(name in found for name in pair):
            print(f"{pair[1]} takes {found[pair[1]].median / found[pair[0]].median:.0f} x {pair[0]}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help="tokens")
    parser.add_argument("--make", type=Path, metavar="PATH", help="only make the file, there")
    parser.add_argument("--skip-reference", action="store_true", help="leave the gguf package out")
    return parser.parse_args()


def vocabulary(size: int) -> dict[str, TypedValue]:
    """Return the keys of a vocabulary like Gemma's: special tokens in front, words behind."""
    words = (f"\u2581word{index}" for index in range(size - len(SPECIAL)))
    return {
        str(Key.TOKENIZER_MODEL): string("llama"),
        str(Key.TOKENIZER_PRE): string("default"),
        str(Key.TOKENS): array(ValueType.STRING, [*SPECIAL, *words]),
        str(Key.SCORES): array(ValueType.FLOAT32, [-float(index) for index in range(size)]),
        str(Key.TOKEN_TYPES): array(
            ValueType.INT32, [CONTROL] * len(SPECIAL) + [NORMAL] * (size - len(SPECIAL))
        ),
        "tokenizer.ggml.bos_token_id": uint32(2),
        "tokenizer.ggml.eos_token_id": uint32(1),
        str(Key.CHAT_TEMPLATE): string(TEMPLATE),
    }


def measured(path: Path, repetitions: int, with_reference: bool) -> Iterator[tuple[str, Measured]]:
    """Yield what each contestant took, printing it."""
    command = [sys.executable, "-m", "localllm", "inspect", str(path)]
    runs = {
        "localllm.inspect": lambda: function("localllm.inspect", path, repetitions),
        "localllm inspect": lambda: process(command, repetitions),
        "localllm inspect --json": lambda: process([*command, "--json"], repetitions),
        "localllm inspect --kv": lambda: process([*command, "--kv"], repetitions),
        "python -c pass": lambda: process([sys.executable, "-c", "pass"], repetitions),
    }
    if with_reference:
        dump = [sys.executable, "-m", "gguf.scripts.gguf_dump", str(path)]
        runs["gguf.GGUFReader"] = lambda: function("gguf.GGUFReader", path, 1)
        runs["gguf-dump"] = lambda: process(dump, 1)
    for name, run in runs.items():
        found = run()
        print(f"{name:<24} {line(found)}", flush=True)
        yield name, found


def function(name: str, path: Path, repetitions: int) -> Measured:
    """Call a function again and again in a process of its own."""
    imports, call = FUNCTIONS[name]
    code = IN_PROCESS.format(imports=imports, call=call)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(repetitions)],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    return Measured(json.loads(done.stdout))


def process(command: Sequence[str], repetitions: int) -> Measured:
    """Run a command again and again; the first run is not counted."""
    seconds, peak = [], 0
    for number in range(repetitions + 1):
        started = time.perf_counter()
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        _, status, usage = os.wait4(running.pid, 0)
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"{' '.join(command)} failed")
        if number:
            seconds.append(time.perf_counter() - started)
            peak = max(peak, usage.ru_maxrss * 1024)
    return Measured(seconds, peak)


def line(found: Measured) -> str:
    """Return the median, the range and the memory in words."""
    low, high = min(found.seconds), max(found.seconds)
    memory = f"  {found.peak_bytes / 1e6:7.1f} MB" if found.peak_bytes else ""
    return f"{found.median * 1000:9.1f} ms  ({low * 1000:.1f} to {high * 1000:.1f}){memory}"


if __name__ == "__main__":
    main()
