"""Standard input as a file whose beginning is looked at: read from front to back, only as far as needed."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import BufferedReader
from typing import cast

from localllm.errors import InvalidGGUFError, UsageError
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import MAGIC

LABEL = "standard input"
_UNKNOWN_SIZE = 2**62  # the end of a pipe shows only when it is reached


class PipeSource:
    """The beginning of a pipe as a ByteSource; it keeps what was read, which the reader bounds.

    A read returns what has come so far: nobody waits for bytes behind the header. Nothing is the end.
    """

    label = LABEL
    size_bytes = _UNKNOWN_SIZE

    def __init__(self, pipe: BufferedReader) -> None:
        self._pipe = pipe
        self.beginning = bytearray()
        self.has_ended = False

    def read_at(self, offset: int, length: int) -> bytes:
        """Return some of the `length` bytes from `offset`, none only where the pipe has ended."""
        while len(self.beginning) <= offset and not self.has_ended:
            chunk = self._pipe.read1(offset + length - len(self.beginning))
            self.has_ended = not chunk
            self.beginning += chunk
        return bytes(self.beginning[offset : offset + length])


def read_piped_header(pipe: BufferedReader | None = None) -> GGUFHeader:
    """Read a GGUF header from standard input and close that, so that what writes to it may stop.

    The size of the file is what its tensors say. Raise InvalidGGUFError, UsageError for a terminal.
    """
    opened = pipe or cast(BufferedReader, sys.stdin.buffer)
    if opened.isatty():
        raise UsageError(
            "`-` reads a GGUF file from a pipe, but standard input is a terminal",
            hint="pipe one into it: `cat FILE | localllm inspect -`",
        )
    source = PipeSource(opened)
    try:
        header = read_header(source)
    except InvalidGGUFError:
        _explain_end(source)
        raise
    finally:
        opened.close()
    ends = (header.data_offset + tensor.offset + tensor.size_bytes for tensor in header.tensors)
    return replace(header, file_size_bytes=max(ends, default=header.data_offset))


def _explain_end(source: PipeSource) -> None:
    """Raise a better error where the header could not be read because the pipe ended."""
    if not source.has_ended:
        return
    if not source.beginning:
        raise InvalidGGUFError(
            f"nothing came through {LABEL}", hint="pipe a GGUF file into it: `localllm inspect - < FILE`"
        ) from None
    if MAGIC.startswith(source.beginning[: len(MAGIC)]):
        raise InvalidGGUFError(
            f"{LABEL}: the file is truncated, it ends inside its header after {len(source.beginning)} bytes",
            hint="what writes into the pipe stopped too early; the whole header is needed",
        ) from None
