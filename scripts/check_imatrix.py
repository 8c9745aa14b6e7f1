#!/usr/bin/env python3
"""Compare importance matrices with llama-imatrix's, column by column.

    python scripts/check_imatrix.py --reference-bin /path/to/llama-imatrix

Runs both on the demo model, converted to F16, and on tiny models with and without experts, with the demo's
evaluation text. The largest relative difference of two mean squares is given; above 1e-3 the script fails.
The reference is told to take no more tokens at once than llama.cpp computes (`-b 512`): with its default it
leaves out the last tokens when the number of chunks is not a multiple of four. It is also run like that, on
eight chunks. Its files must be written again, byte for byte, by our reader and writer.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFReader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localllm.assembly import Recipe  # noqa: E402
from localllm.conversion.convert import convert  # noqa: E402
from localllm.conversion.out_type import OutType  # noqa: E402
from localllm.imatrix import ImportanceMatrix, collect_imatrix, read_imatrix, read_text  # noqa: E402
from localllm.imatrix.writing import COUNTS, SUMS, write_imatrix  # noqa: E402
from localllm.machine import usable_cores  # noqa: E402
from localllm.native.activations import InputSums  # noqa: E402
from tests.conversion.tiny_families import write_tiny_family  # noqa: E402

TEXT = ROOT / "models" / "demo" / "eval.txt"
FAMILIES = ("mixtral", "qwen2-moe", "qwen3-moe", "gemma3", "gpt2")
LARGEST = 1e-3


def main() -> int:
    """Print a line for each comparison; return 1 when one differs too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference-bin", required=True, type=Path, help="llama-imatrix")
    program = parser.parse_args().reference_bin
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("demo", *FAMILIES):
            checkpoint = TEXT.parent if name == "demo" else write_tiny_family(folder / name, name)
            model = folder / f"{name}.gguf"
            convert(Recipe(checkpoint), output=model, out_type=OutType.F16)
            for context, chunks, batch in (
                (512, None, 512),
                (128, None, 512),
                (100, 33, 500),
                (512, 8, 2048),
            ):
                failed |= not compare(program, model, context, chunks, batch)
    return int(failed)


def compare(program: Path, model: Path, context: int, chunks: int | None, batch: int) -> bool:
    """Make the same matrix twice and print how they differ; tell whether that is little enough."""
    reference, ours = (model.with_name(name) for name in ("reference.gguf", "ours.gguf"))
    command = [program, "-m", model, "-f", TEXT, "-o", reference, "-c", context, "-b", batch]
    command += ["-t", usable_cores(), "--chunks", chunks or -1]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    result = collect_imatrix(model, [read_text(TEXT)], output=ours, context_size=context, max_chunks=chunks)
    expected = read_imatrix(reference)
    difference = largest_difference(read_imatrix(ours), expected)
    again = is_written_again(reference, expected)
    print(
        f"{model.stem:9} {result.entries:2} entries, {result.chunks:3} chunks of {context}, batch {batch:4}: "
        f"largest difference {difference:.1e}, written again {'alike' if again else 'DIFFERENTLY'}"
    )
    return difference <= LARGEST and again


def largest_difference(found: ImportanceMatrix, expected: ImportanceMatrix) -> float:
    """Return the largest relative difference of two columns; infinite when entries or shapes differ."""
    shapes = [{name: values.shape for name, values in matrix.entries.items()} for matrix in (found, expected)]
    if shapes[0] != shapes[1] or found.chunks != expected.chunks or found.chunk_size != expected.chunk_size:
        return float("inf")
    return max(
        float((np.abs(found.entries[name] - values) / np.maximum(values, 1e-30)).max())
        for name, values in expected.entries.items()
    )


def is_written_again(path: Path, matrix: ImportanceMatrix) -> bool:
    """Write the numbers of a file of llama-imatrix with our writer; tell whether the bytes are the same."""
    tensors = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}
    inputs = {
        name: InputSums(
            tensors[name + SUMS].astype(np.float64), tensors[name + COUNTS].reshape(-1).astype(np.int64)
        )
        for name in matrix.entries
    }
    again = path.with_name("again.gguf")
    write_imatrix(again, inputs, datasets=matrix.datasets, chunks=matrix.chunks, chunk_size=matrix.chunk_size)
    return again.read_bytes() == path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
