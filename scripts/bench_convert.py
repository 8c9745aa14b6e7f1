#!/usr/bin/env python3
"""Measure a conversion: time, processor time and memory, beside `cp` and llama.cpp's own converter.

    python scripts/bench_convert.py [--reference LLAMA_CPP --python PYTHON] [--keep DIR] [--tokenizer DIR]

Makes a Llama checkpoint with 1.04 billion bfloat16 weights (2.1 GB, seeded), converts it to every type asked
for and copies its weights with `cp`, in turns, and prints medians, the range, and the ratios between the
contestants. One repetition is run first and not counted, so the checkpoint is in the page cache.

Each contestant is a whole process: `localllm convert` with its start-up, the check of every weight, the
header read again and the vocabulary tried in llama.cpp. localllm flushes the file to the disk before it
gives it its name; `cp` and the reference do not, so their files are flushed after them and that counts as
their time.

Processor time is user and system time of the process and all its children. Memory is the largest sum of
RssAnon (private memory that is not a file's) over the process and its descendants, sampled every 10 ms.

LLAMA_CPP and PYTHON are what scripts/check_parity.py describes; without them only localllm and `cp` are
measured. `--keep DIR` keeps the checkpoint there, and uses it when it is there already. Linux only.

The checkpoint has a tokenizer of 288 tokens, so that what is measured is the weights. `--tokenizer DIR` takes
the tokenizer files of a directory instead, and gives the embedding as many rows: what a vocabulary costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from check_parity import DRIVER  # noqa: E402

from tests.conversion.tiny_llama import cast, write_tiny_llama  # noqa: E402

PRE = "qwen2"  # what the tiny tokenizer is, for the reference, which does not know it
LAYERS, HIDDEN, INTERMEDIATE, QUERY, KEY, ROWS = 16, 2048, 8192, 2048, 512, 32000
SEED = 20261125
WEIGHTS = "model.safetensors"
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sample:
    """One run: wall and processor seconds, and the most private memory in bytes."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def main() -> None:
    """Build the checkpoint, run all contestants in turns, print the table and the ratios."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder, chosen(arguments, folder) as source:
        contestants = dict(contestants_of(arguments, source, Path(folder)))
        samples: dict[str, list[Sample]] = {name: [] for name in contestants}
        for repetition in range(arguments.repetitions + 1):
            for name, run in contestants.items():
                sample = run()
                if repetition:
                    samples[name].append(sample)
                print(f"{repetition or 'warm-up'} {name}: {line(sample)}", flush=True)
    report(samples, arguments.outtype)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="llama.cpp's source directory")
    parser.add_argument("--python", help="an interpreter with torch and transformers")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the checkpoint stays")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="whose tokenizer files to take")
    parser.add_argument("--place", type=Path, help="where everything else is written, by default in /tmp")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--outtype",
        type=lambda text: text.split(","),
        default=["bf16", "f16", "q8_0"],
        help="types, by comma",
    )
    arguments = parser.parse_args()
    if (arguments.reference is None) != (arguments.python is None):
        parser.error("--reference and --python belong together")
    if arguments.reference and not (arguments.reference / "convert_hf_to_gguf.py").is_file():
        parser.error(f"no convert_hf_to_gguf.py in {arguments.reference}")
    return arguments


@contextmanager
def chosen(arguments: argparse.Namespace, folder: str) -> Iterator[Path]:
    """Yield the checkpoint: the one kept, or a new one."""
    directory = arguments.keep or Path(folder) / "checkpoint"
    if not (directory / WEIGHTS).is_file():
        print(f"making {directory}", flush=True)
        make_checkpoint(directory, arguments.tokenizer)
    yield directory


def make_checkpoint(directory: Path, tokenizer: Path | None) -> None:
    """Write the checkpoint: shapes like Llama 3.2 1B, weights drawn like trained ones."""
    write_tiny_llama(directory, tensors={})
    (directory / WEIGHTS).unlink()
    rows = ROWS if tokenizer is None else take_tokenizer(tokenizer, directory)
    config = json.loads((directory / "config.json").read_text())
    config |= {
        "vocab_size": rows,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": QUERY // 64,
        "num_key_value_heads": KEY // 64,
        "head_dim": 64,
        "torch_dtype": "bfloat16",
    }
    (directory / "config.json").write_text(json.dumps(config))
    part = directory / f".{WEIGHTS}.part"
    write_weights(part, dict(sorted(shapes(rows).items())))
    part.rename(directory / WEIGHTS)


def take_tokenizer(source: Path, directory: Path) -> int:
    """Copy the tokenizer files of `source`; return how many tokens there are, up to a multiple of 64."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, directory / name)
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    ids = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
    return -(-(max(ids) + 1) // 64) * 64


def shapes(rows: int) -> Shapes:
    """Return the tensors of the checkpoint by name, with a tied output."""
    layer: Shapes = {
        "self_attn.q_proj": (QUERY, HIDDEN),
        "self_attn.k_proj": (KEY, HIDDEN),
        "self_attn.v_proj": (KEY, HIDDEN),
        "self_attn.o_proj": (HIDDEN, QUERY),
        "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
        "mlp.up_proj": (INTERMEDIATE, HIDDEN),
        "mlp.down_proj": (HIDDEN, INTERMEDIATE),
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    layers = {f"model.layers.{i}.{name}.weight": s for i in range(LAYERS) for name, s in layer.items()}
    return {"model.embed_tokens.weight": (rows, HIDDEN), "model.norm.weight": (HIDDEN,), **layers}


def write_weights(path: Path, tensors: Shapes, seed: int = SEED) -> None:
    """Write normally distributed bfloat16 weights, tensor after tensor."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors.items():
            values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
            file.write(cast(values + np.float32(name.endswith("norm.weight")), "BF16"))
        os.fsync(file.fileno())


def contestants_of(
    arguments: argparse.Namespace, source: Path, folder: Path
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    """Yield a name and what to run for each contestant and type."""
    environment = {**os.environ, "LOCALLLM_HOME": str(folder / "home")}
    target = folder / "copy.safetensors"
    yield "cp", lambda: measure(["cp", source / WEIGHTS, target], target, environment)
    for kind in arguments.outtype:
        own, other = folder / f"own-{kind}.gguf", folder / f"reference-{kind}.gguf"
        command = [sys.executable, "-m", "localllm", "convert", source, "--outtype", kind, "-o", own]
        yield f"localllm {kind}", lambda c=command, t=own: measure([*c, "--quiet"], t, environment)
        if arguments.reference:
            place = arguments.reference.resolve()
            command = [arguments.python, "-c", DRIVER, place, PRE, source.resolve(), folder, "False", kind]
            yield f"reference {kind}", lambda c=command, t=other: measure(c, t, environment)


def measure(
    command: list[Any], target: Path, environment: dict[str, str], pause_seconds: float = 0.01
) -> Sample:
    """Run `command`, flush `target`, which it wrote, to the disk, and remove it.

    Its memory is looked at after every pause.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output, cwd=ROOT)
        peak, usage, status = watch(process, pause_seconds)
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(words[:6])} … failed:\n{output.read().decode()[-3000:]}")
    before = own_cpu()
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    wall = time.perf_counter() - begin
    cpu = usage.ru_utime + usage.ru_stime + own_cpu() - before
    target.unlink()
    return Sample(wall, cpu, peak)


def watch(process: subprocess.Popen[bytes], pause_seconds: float) -> tuple[int, resource.struct_rusage, int]:
    """Sample the memory of a process until it ends; return the peak, its resource usage and exit status."""
    peak = 0
    ends = os.pidfd_open(process.pid)
    try:
        while not select.select([ends], [], [], pause_seconds)[0]:
            peak = max(peak, private_bytes(process.pid))
    finally:
        os.close(ends)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return peak, usage, process.returncode


def private_bytes(pid: int) -> int:
    """Return RssAnon of a process and its descendants; what ends meanwhile counts nothing."""
    total = 0
    try:
        pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return 0
    for each in pids:
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        total += sum(int(row.split()[1]) * 1024 for row in status.splitlines() if row.startswith("RssAnon"))
    return total


def own_cpu() -> float:
    """Return the processor seconds this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def line(sample: Sample) -> str:
    """Format one run."""
    return f"{sample.wall_seconds:.2f} s, {sample.cpu_seconds:.2f} CPU-s, {sample.peak_bytes / 1e6:.0f} MB"


def report(samples: dict[str, list[Sample]], types: list[str]) -> None:
    """Print medians with the range, then the ratios of medians."""
    print(f"\n{'':16}{'wall seconds':>22}{'CPU seconds':>22}{'private MB':>22}")
    for name, runs in samples.items():
        columns = (
            spread([run.wall_seconds for run in runs], 2),
            spread([run.cpu_seconds for run in runs], 2),
            spread([run.peak_bytes / 1e6 for run in runs], 0),
        )
        print(f"{name:16}" + "".join(f"{column:>22}" for column in columns))
    print()
    for kind in types:
        print(ratio_line(samples, f"localllm {kind}", "cp"))
        if f"reference {kind}" in samples:
            print(ratio_line(samples, f"reference {kind}", f"localllm {kind}"))


def spread(values: list[float], digits: int) -> str:
    """Format the median and the range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def ratio_line(samples: dict[str, list[Sample]], first: str, second: str) -> str:
    """Format how much `first` takes of what `second` takes, in the same repetition."""
    pairs = list(zip(samples[first], samples[second], strict=True))
    walls = [a.wall_seconds / b.wall_seconds for a, b in pairs]
    cpus = [a.cpu_seconds / b.cpu_seconds for a, b in pairs]
    return f"{first} / {second}: wall {spread(walls, 2)}, CPU {spread(cpus, 2)}"


if __name__ == "__main__":
    main()
