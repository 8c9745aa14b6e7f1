"""Writes a large file from start to end without filling the page cache with it, while the caller works on.

What is written lands in large aligned blocks, which threads write past the page cache where the system can
(O_DIRECT): pages for gigabytes nobody reads soon cost more processor time than the conversion, push out
what others have cached, and make the final fsync wait for all of it. Where it cannot, blocks are written
the usual way, and the system is asked to begin with the disk right away.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

BLOCK_BYTES = 4 * 1024 * 1024
_THREADS = 2
_BLOCKS = _THREADS + 2
BUFFER_BYTES = BLOCK_BYTES * _BLOCKS  # what a file being written holds in memory
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class WriteBehind:
    """A new file of about `size_bytes` (a guess, to have the space in one piece), written once.

    Use it as a context manager: leaving it writes the rest and closes the file. An OSError of a block
    is raised by a later `write`, or on leaving.
    """

    def __init__(self, path: Path, size_bytes: int, *, direct: bool = True) -> None:
        self._plain = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            self._direct = _open_direct(path, size_bytes) if direct else None
        except OSError:
            os.close(self._plain)
            raise
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="write")
        self._lock = threading.Lock()  # of the file position, where there is no pwrite
        self._free = [mmap.mmap(-1, BLOCK_BYTES) for _ in range(_BLOCKS)]  # mapped memory is aligned
        self._begun: deque[tuple[Future[None], mmap.mmap]] = deque()
        self._block = self._free.pop()
        self._used = 0
        self._offset = 0

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            for descriptor in (self._plain, self._direct):
                if descriptor is not None:
                    os.close(descriptor)

    def write(self, data: bytes | memoryview) -> int:
        """Take a copy of `data`, to be written after what came before; return its length."""
        view = memoryview(data)
        taken = 0
        while taken < len(view):
            count = min(BLOCK_BYTES - self._used, len(view) - taken)
            self._block[self._used : self._used + count] = view[taken : taken + count]
            self._used += count
            taken += count
            if self._used == BLOCK_BYTES:
                self._begin(self._block)
        return taken

    def _begin(self, block: mmap.mmap) -> None:
        """Let a thread write the full block, and go on with a free one."""
        self._begun.append((self._pool.submit(self._write_block, block, self._offset), block))
        self._offset += BLOCK_BYTES
        self._used = 0
        if not self._free:
            future, written = self._begun.popleft()
            future.result()
            self._free.append(written)
        self._block = self._free.pop()

    def _finish(self) -> None:
        while self._begun:
            self._begun.popleft()[0].result()
        self._write_at(self._plain, self._block, self._used, self._offset)
        os.ftruncate(self._plain, self._offset + self._used)

    def _write_block(self, block: mmap.mmap, offset: int) -> None:
        if self._direct is not None:
            try:
                self._write_at(self._direct, block, BLOCK_BYTES, offset)
                return
            except OSError as error:
                if error.errno != errno.EINVAL:  # of another alignment, or not supported after all
                    raise
        self._write_at(self._plain, block, BLOCK_BYTES, offset)
        if hasattr(os, "posix_fadvise"):  # begins to write; what is not written yet stays cached
            os.posix_fadvise(self._plain, offset, BLOCK_BYTES, os.POSIX_FADV_DONTNEED)

    def _write_at(self, descriptor: int, block: mmap.mmap, size: int, offset: int) -> None:
        with memoryview(block) as view:
            done = 0
            while done < size:
                with view[done:size] as rest:
                    done += self._write_some(descriptor, rest, offset + done)

    def _write_some(self, descriptor: int, data: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(descriptor, data, offset)
        with self._lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)


def _open_direct(path: Path, size_bytes: int) -> int | None:
    """Open the file to write past the page cache; None where that does not exist.

    Raise OSError when the disk has no room for `size_bytes`.
    """
    if not hasattr(os, "O_DIRECT") or size_bytes < BLOCK_BYTES:
        return None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:  # not every file system can; it only makes writing faster
        if error.errno in _DISK_FULL:
            os.close(descriptor)
            raise
    return descriptor
