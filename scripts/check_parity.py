#!/usr/bin/env python3
"""Compare localllm's converter with llama.cpp's own: every tensor byte for byte, every key, type and value.

    python scripts/check_parity.py --reference LLAMA_CPP --python PYTHON [CHECKPOINT ...] [--write-golden]

LLAMA_CPP is the llama.cpp source inside the llama-cpp-python sdist, PYTHON an interpreter that has the
reference converter's packages. Both belong in a throw-away place; localllm needs neither:

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36
    tar xf llama_cpp_python-0.3.36.tar.gz
    python -m venv reference
    reference/bin/pip install --extra-index-url https://download.pytorch.org/whl/cpu \\
        torch transformers==4.57.6 "sentencepiece<0.3" protobuf
    scripts/check_parity.py --reference llama_cpp_python-0.3.36/vendor/llama.cpp --python reference/bin/python

Without CHECKPOINT, models/demo and the tiny ones of tests/conversion/golden_checkpoints.py are compared;
with `--keep-mtp` those of tests/conversion/tiny_mtp.py, keeping layers for multi-token prediction; with
`--transformers5` those that the reference converts only where PYTHON has transformers==5.23.0 (Gemma 4).
`--write-golden` stores what the reference wrote in tests/conversion/golden/, where the tests compare with it
without torch. Do that again whenever a file of models/demo changes.

The reference names a pre-tokenizer after a hash of a sample's tokens, a table that holds published
tokenizers only. Where it gives up (the demo's tokenizer was trained here), it is handed the name that
localllm recognised; where it knows the tokenizer, its own answer is compared. The exit status is 0 when
nothing differs but what tests/conversion/parity.py lists as a deviation, else 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localllm.conversion.convert import convert  # noqa: E402
from localllm.conversion.out_type import OutType  # noqa: E402
from tests.conversion.golden_checkpoints import MTP, NEED_TRANSFORMERS_5, TINY  # noqa: E402
from tests.conversion.parity import (  # noqa: E402
    GOLDEN,
    OUT_TYPES,
    Digest,
    differences,
    digest,
    format_golden,
    source_hashes,
)

# Runs in the reference's interpreter: converts one checkpoint to several types.
DRIVER = """
import sys

reference, pre, checkpoint, folder, keep_mtp, *types = sys.argv[1:]
sys.path.insert(0, reference)
import conversion.base
import convert_hf_to_gguf

ask = conversion.base.TextModel.get_vocab_base_pre

def answer(self, tokenizer):
    try:
        return ask(self, tokenizer)
    except NotImplementedError:
        return pre

conversion.base.TextModel.get_vocab_base_pre = answer
conversion.base.ModelBase.no_mtp = keep_mtp != "True"  # as --no-mtp, which only some architectures know
for kind in types:
    target = f"{folder}/reference-{kind}.gguf"
    sys.argv = ["convert_hf_to_gguf.py", checkpoint, "--outfile", target, "--outtype", kind]
    convert_hf_to_gguf.main()
"""


def main() -> int:
    """Compare, print a line for each file and one for each difference, return the exit status."""
    arguments = parse_arguments()
    unexplained = 0
    with chosen(arguments) as checkpoints:
        for checkpoint in checkpoints:
            with tempfile.TemporaryDirectory() as folder:
                own = convert_own(checkpoint, Path(folder), arguments.outtype, keep_mtp=arguments.keep_mtp)
                keys = own[arguments.outtype[0]]["metadata"]
                pre = str(keys.get("tokenizer.ggml.pre", ["STRING", ""])[1])
                run_reference(arguments, checkpoint, Path(folder), pre)
                reference = {
                    kind: digest(Path(folder) / f"reference-{kind}.gguf") for kind in arguments.outtype
                }
            for kind in arguments.outtype:
                unexplained += report(checkpoint.name, kind, reference[kind], own[kind])
            if arguments.write_golden:
                write_golden(checkpoint, reference)
    print("parity holds" if not unexplained else f"{unexplained} differences are not explained")
    return 1 if unexplained else 0


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--reference", type=Path, required=True, help="llama.cpp's source directory")
    parser.add_argument("--python", required=True, help="an interpreter with torch and transformers")
    parser.add_argument(
        "--outtype", type=lambda text: text.split(","), default=list(OUT_TYPES), help="comma-separated types"
    )
    parser.add_argument("--keep-mtp", action="store_true", help="keep layers for multi-token prediction")
    parser.add_argument("--transformers5", action="store_true", help="compare what needs transformers 5")
    parser.add_argument("--write-golden", action="store_true", help="store what the reference wrote")
    arguments = parser.parse_args()
    if not (arguments.reference / "convert_hf_to_gguf.py").is_file():
        parser.error(f"no convert_hf_to_gguf.py in {arguments.reference}")
    if arguments.write_golden and arguments.outtype != list(OUT_TYPES):
        parser.error("--write-golden needs all types; leave out --outtype")
    return arguments


@contextmanager
def chosen(arguments: argparse.Namespace) -> Iterator[list[Path]]:
    """Yield the checkpoints to compare: those given, or all of the kind that is asked for."""
    if arguments.checkpoints:
        yield arguments.checkpoints
        return
    newest = arguments.transformers5
    tiny = {name: build for name, build in TINY.items() if (name in NEED_TRANSFORMERS_5) == newest}
    with tempfile.TemporaryDirectory() as folder:
        demo = [] if arguments.keep_mtp or newest else [ROOT / "models" / "demo"]
        some = MTP if arguments.keep_mtp else tiny
        yield [*demo, *(build(Path(folder) / name) for name, build in some.items())]


def convert_own(checkpoint: Path, folder: Path, types: list[str], *, keep_mtp: bool) -> dict[str, Digest]:
    """Convert with localllm; return the digest by type."""
    files = {kind: folder / f"own-{kind}.gguf" for kind in types}
    for kind, path in files.items():
        convert(checkpoint, output=path, out_type=OutType(kind), keep_mtp=keep_mtp)
    return {kind: digest(path) for kind, path in files.items()}


def run_reference(arguments: argparse.Namespace, checkpoint: Path, folder: Path, pre: str) -> None:
    """Convert with the reference, in its own interpreter; `pre` is what it takes when it knows no name."""
    places = [str(path.resolve()) for path in (arguments.reference, checkpoint, folder)]
    kept = str(arguments.keep_mtp)
    command = [arguments.python, "-c", DRIVER, places[0], pre, *places[1:], kept, *arguments.outtype]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"the reference failed on {checkpoint}:\n{result.stderr[-3000:]}")


def report(name: str, kind: str, reference: Digest, own: Digest) -> int:
    """Print how one pair of files compares; return the number of unexplained differences."""
    found = differences(reference, own)
    counts = f"{len(reference['tensors'])} tensors, {len(reference['metadata'])} keys"
    print(f"{name} {kind}: {counts}, {len(found)} differ")
    for difference in found:
        print(f"  {difference}\n    {difference.reason or 'NOT EXPLAINED'}")
    return sum(1 for difference in found if difference.reason is None)


def write_golden(checkpoint: Path, reference: dict[str, Digest]) -> None:
    """Store the reference's digests, and which weights they were made from."""
    target = GOLDEN / f"{checkpoint.resolve().name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(format_golden(source_hashes(checkpoint), reference), encoding="ascii", newline="\n")
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
