"""What a context holds of a sequence, as bytes in memory or in a file of llama.cpp's own format.

llama.cpp checks such bytes with assertions that end the process: hand it only what it wrote itself, and
verify files before (`engine.state_file`).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from localllm.native.context import Context
from localllm.native.library import llama


def read_sequence(context: Context, sequence: int = 0) -> bytearray:
    """Return the state of a sequence."""
    library = llama()
    size = int(library.llama_state_seq_get_size(context.handle, sequence))
    data = bytearray(size)
    place = (ctypes.c_uint8 * size).from_buffer(data)
    written = int(library.llama_state_seq_get_data(context.handle, place, size, sequence))
    del place  # lets go of the array, which could not be resized before
    return data[:written] if written < size else data


def write_sequence(context: Context, data: bytearray, sequence: int = 0) -> bool:
    """Give a sequence the state that `read_sequence` returned for a context of the same model and types.

    Return False when it does not fit; the sequence is then empty.
    """
    place = (ctypes.c_uint8 * len(data)).from_buffer(data)
    done = llama().llama_state_seq_set_data(context.handle, place, len(data), sequence)
    if not done:
        context.clear()
    return bool(done)


def save_sequence(context: Context, path: Path, tokens: Sequence[int], sequence: int = 0) -> int:
    """Write the state of a sequence and its tokens to a file; return its size, 0 when that failed."""
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    return int(
        llama().llama_state_seq_save_file(context.handle, os.fsencode(path), sequence, array, len(tokens))
    )


def load_sequence(context: Context, path: Path, capacity: int, sequence: int = 0) -> list[int] | None:
    """Restore a sequence from a file and return its tokens, at most `capacity`.

    Return None when llama.cpp refuses it; the context is then empty.
    """
    tokens = (ctypes.c_int32 * capacity)()
    count = ctypes.c_size_t()
    done = llama().llama_state_seq_load_file(
        context.handle, os.fsencode(path), sequence, tokens, capacity, ctypes.byref(count)
    )
    if not done:
        context.clear()
        return None
    return list(tokens[: count.value])
