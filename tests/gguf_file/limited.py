"""Reads files with little memory left: the child of test_hostile_limits, light so that it starts fast."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from localllm.errors import InvalidGGUFError
from localllm.gguf_file import read_header
from localllm.gguf_file.preflight import require_loadable

READING_BYTES = 100_000_000
PREFLIGHT_BYTES = 300_000_000  # a vocabulary of a million tokens is looked through for llama.cpp


def main() -> None:
    """Print what becomes of each of the files named on standard input."""
    paths = json.load(sys.stdin)
    start = _address_space()
    print(json.dumps([_outcome(Path(path), start) for path in paths]))


def _outcome(path: Path, start: int) -> str:
    try:
        _limit(start + READING_BYTES)
        header = read_header(path)
        _limit(start + PREFLIGHT_BYTES)
        require_loadable(header, "the file")
    except InvalidGGUFError as error:
        return error.message
    return "accepted"


def _address_space() -> int:
    if sys.platform != "linux":
        return 0
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _limit(size_bytes: int) -> None:
    """Limit the process, where that can be done and undone."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, hard))


if __name__ == "__main__":
    main()
