"""Downloads files: several at once, by ranges, resumed, checked while they come.

Threads fetch pieces and write them in place; the calling thread hashes what has come without a gap, tells how
far it is, and gives a file whose hash is right its name. A lock of the cache, the one huggingface_hub takes,
keeps two processes from downloading one file; the second waits and finds it there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import BaseFileLock

from localllm.errors import ChecksumError, HubError, StorageError
from localllm.events import Advanced, Emit, Finished, Notice, Started, ignore
from localllm.hub.cache import ELSEWHERE, RepoFile
from localllm.hub.digest import Digest
from localllm.hub.http import PassingError, Patience
from localllm.hub.locks import release, taken
from localllm.hub.partial import BLOCK_BYTES, Partial, StaleError
from localllm.hub.remote_file import ChangedError, RangesIgnoredError, RemoteFile
from localllm.publication import translated_errors
from localllm.units import format_bytes

CONNECTIONS = 8
PIECE_BYTES = 32 * BLOCK_BYTES
_HASHED_AT_ONCE = 16 * BLOCK_BYTES
_BEGUN_FILES = 16  # their parts are open
_RESTARTS = 2
_LOOK_SECONDS = 0.1
_WORTH_TELLING_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """A file to fetch to `target`. `expected` is what it must hash to; None when nobody knows.

    Its part is called after `part`; `validator` is the ETag of the server that the part must be of, "" when
    the hash tells; `inspect` looks at the whole before it gets its name, and may raise.
    """

    file: RepoFile
    remote: RemoteFile
    target: Path
    part: Path
    lock: Path
    new_digest: Callable[[], Digest]
    expected: str | None
    validator: str = ""
    inspect: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Fetched:
    """What it took to have a file: bytes that came now and bytes that were here from an earlier try."""

    file: RepoFile
    downloaded_bytes: int
    resumed_bytes: int


@dataclass(frozen=True)
class _Piece:
    transfer: _Transfer
    attempt: int
    start: int
    end: int


@dataclass
class _Transfer:
    """A job that runs: its part, how much of it is hashed, and how often it had to begin again."""

    job: Job
    part: Partial
    lock: BaseFileLock
    digest: Digest
    hashed_bytes: int = 0
    restarts: int = 0
    by_ranges: bool = True
    mixed: bool = False  # pieces may be of two versions
    validator: str = ""

    @property
    def step(self) -> str:
        return self.job.file.path


def download(jobs: Sequence[Job], *, emit: Emit = ignore) -> list[Fetched]:
    """Fetch every job whose target is not there. Return what it took, in the order of completion.

    Raise ChecksumError for content that is not what was promised (it is removed), other HubErrors when the
    servers do not give it, StorageError when it cannot be written. What has come stays for the next time.
    """
    crew = _Crew(emit)
    try:
        return crew.run(jobs)
    except KeyboardInterrupt:
        emit(Notice("stopped; what has come is kept, and the next time goes on from there"))
        raise
    finally:
        crew.stop()


@dataclass
class _Crew:
    """The threads that fetch pieces, and the loop that keeps them busy and takes what they bring."""

    emit: Emit
    fetched: list[Fetched] = field(default_factory=list)
    _todo: queue.SimpleQueue[_Piece | None] = field(default_factory=queue.SimpleQueue)
    _news: queue.SimpleQueue[tuple[_Piece, BaseException | None]] = field(default_factory=queue.SimpleQueue)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[_Transfer] = field(default_factory=list)
    _threads: int = 0
    _told: set[str] = field(default_factory=set)

    def run(self, jobs: Sequence[Job]) -> list[Fetched]:
        waiting, is_behind = deque(jobs), False
        while waiting or self._running:
            self._begin(waiting)
            self._take_news(0 if is_behind or not self._running else _LOOK_SECONDS)
            behind = [self._go_on(transfer) for transfer in list(self._running)]
            is_behind = any(behind)
        return self.fetched

    def stop(self) -> None:
        """Let go of everything; threads that wait for a server end by themselves."""
        self._stop.set()
        for _ in range(self._threads):
            self._todo.put(None)
        for transfer in self._running:
            if transfer.part.done_bytes:
                transfer.part.close()
            else:
                transfer.part.discard()
            release(transfer.lock)

    # beginning ------------------------------------------------------------------------------

    def _begin(self, waiting: deque[Job]) -> None:
        """Begin jobs, as many as go at once; one that another process works on goes to the end."""
        for _ in range(len(waiting)):
            if len(self._running) >= _BEGUN_FILES:
                return
            job = waiting.popleft()
            with translated_errors(job.lock, ELSEWHERE):
                lock = taken(job.lock)
            if lock is None:
                waiting.append(job)
                self._say_once(f"another process is downloading {job.file.path}; waiting for it")
                continue
            if _is_there(job):
                release(lock)
                self.fetched.append(Fetched(job.file, 0, 0))
                continue
            self._start(job, lock)
        if waiting and not self._running:
            time.sleep(_LOOK_SECONDS)

    def _start(self, job: Job, lock: BaseFileLock) -> None:
        try:
            with translated_errors(job.target, ELSEWHERE):
                part = Partial(job.part, job.file.path, job.file.size_bytes, job.validator)
        except BaseException:
            release(lock)
            raise
        transfer = _Transfer(job, part, lock, job.new_digest())
        self._running.append(transfer)
        if part.resumed_bytes:
            self.emit(Notice(f"{transfer.step}: {format_bytes(part.resumed_bytes)} of it are here already"))
        if part.is_replaced:
            self.emit(Notice(f"starting {transfer.step} again: it is another version now"))
        self.emit(Started(transfer.step, job.file.size_bytes, "bytes"))
        self._hand_out(transfer)

    def _hand_out(self, transfer: _Transfer) -> None:
        """Put what is missing of a file in the queue, in pieces."""
        length = PIECE_BYTES if transfer.by_ranges else max(1, transfer.job.file.size_bytes)
        for start, end in transfer.part.missing():
            for at in range(start, end, length):
                piece = _Piece(transfer, transfer.part.attempt, at, min(at + length, end))
                self._todo.put(piece)
                self._hire()

    def _hire(self) -> None:
        if self._threads < CONNECTIONS:
            self._threads += 1
            threading.Thread(target=self._work, daemon=True, name=f"download-{self._threads}").start()

    # what the threads do --------------------------------------------------------------------

    def _work(self) -> None:
        while (piece := self._todo.get()) is not None and not self._stop.is_set():
            try:
                self._fetch(piece)
            except BaseException as error:  # the calling thread decides what it means
                self._news.put((piece, error))
            else:
                self._news.put((piece, None))

    def _fetch(self, piece: _Piece) -> None:
        """Fetch a piece, going on where the connection broke."""
        patience, at, furthest = Patience(self._stop), piece.start, piece.start
        while at < piece.end:
            try:
                with piece.transfer.job.remote.read(at, piece.end) as body:
                    self._note_version(piece.transfer, body.validator)
                    for chunk in body:
                        if at == piece.end:  # more than was asked for
                            break
                        at = self._keep(piece, at, chunk)
                        if at > furthest:
                            furthest = at
                            patience.renew()
                if at < piece.end:
                    raise PassingError(HubError(f"{piece.transfer.step} breaks off at byte {at}"))
            except PassingError as failure:
                if (failure.seconds or 0) >= _WORTH_TELLING_SECONDS:
                    self._news.put((piece, failure))
                patience.wait(failure)
                if not piece.transfer.by_ranges:
                    at = piece.start

    def _keep(self, piece: _Piece, at: int, chunk: bytes) -> int:
        """Write what came for `at`, mark whole blocks, and return where it ends."""
        if self._stop.is_set():
            raise StaleError
        chunk = chunk[: piece.end - at]
        end = at + len(chunk)
        part = piece.transfer.part
        with translated_errors(piece.transfer.job.target, ELSEWHERE):
            part.write(piece.attempt, at, chunk)
            whole_from = at - at % BLOCK_BYTES
            part.mark(piece.attempt, whole_from, end if end == piece.end else end - end % BLOCK_BYTES)
        return end

    @staticmethod
    def _note_version(transfer: _Transfer, validator: str) -> None:
        if transfer.validator and validator and validator != transfer.validator:
            transfer.mixed = True
            if transfer.job.expected is None:
                raise ChangedError("it is another version now")
        transfer.validator = validator or transfer.validator

    # what comes of it -----------------------------------------------------------------------

    def _take_news(self, seconds: float) -> None:
        """Wait so long for something to happen, then look at all that did."""
        with suppress(queue.Empty):
            news = self._news.get(timeout=seconds)
            while True:
                self._take(*news)
                news = self._news.get_nowait()

    def _take(self, piece: _Piece, problem: BaseException | None) -> None:
        transfer = piece.transfer
        if piece.attempt != transfer.part.attempt or problem is None or isinstance(problem, StaleError):
            return
        if isinstance(problem, PassingError):
            self._say_once(f"{problem.error.message}; waiting for {problem.seconds:.0f} seconds")
        elif isinstance(problem, RangesIgnoredError):
            transfer.by_ranges = False
            reason = "the server does not give parts of it" if transfer.part.done_bytes else ""
            self._restart(transfer, reason, HubError(f"{transfer.step}: the server sends something else"))
        elif isinstance(problem, ChangedError):
            self._restart(transfer, str(problem), HubError(f"{transfer.step}: {problem}"))
        else:
            raise problem

    def _restart(self, transfer: _Transfer, reason: str, error: HubError) -> None:
        """Begin a file again, and say so. Raise `error` when that was done often enough."""
        transfer.restarts += 1
        if transfer.restarts > _RESTARTS:
            transfer.part.discard()
            raise error
        if reason:
            self.emit(Notice(f"starting {transfer.step} again: {reason}"))
        transfer.part.reset()
        transfer.part.resumed_bytes = 0
        transfer.digest, transfer.hashed_bytes = transfer.job.new_digest(), 0
        transfer.validator, transfer.mixed = "", False
        self._hand_out(transfer)

    def _go_on(self, transfer: _Transfer) -> bool:
        """Hash some of what has come without a gap, finish what is whole; tell whether there is more."""
        part = transfer.part
        there = part.prefix_bytes(transfer.hashed_bytes)
        if transfer.hashed_bytes < there:
            data = part.read(transfer.hashed_bytes, min(_HASHED_AT_ONCE, there - transfer.hashed_bytes))
            if not data:
                raise StorageError(f"{part.data_path} was changed by somebody else", hint="run it again")
            transfer.digest.update(data)
            transfer.hashed_bytes += len(data)
        self.emit(Advanced(transfer.step, part.done_bytes))
        if transfer.hashed_bytes == transfer.job.file.size_bytes:
            self._finish(transfer)
            return False
        return transfer.hashed_bytes < there

    def _finish(self, transfer: _Transfer) -> None:
        job, part = transfer.job, transfer.part
        if job.expected is not None and transfer.digest.hexdigest() != job.expected:
            self._reject(transfer)
            return
        if job.inspect is not None:
            self._inspect(transfer, job.inspect)
        with translated_errors(job.target, ELSEWHERE):
            part.publish(job.target)
        self._running.remove(transfer)
        release(transfer.lock)
        self.emit(Finished(transfer.step))
        self.fetched.append(Fetched(job.file, part.written_bytes, part.resumed_bytes))

    @staticmethod
    def _inspect(transfer: _Transfer, inspect: Callable[[Path], None]) -> None:
        try:
            inspect(transfer.part.data_path)
        except BaseException:
            transfer.part.discard()
            raise

    def _reject(self, transfer: _Transfer) -> None:
        """Remove what is not the file; what was put together from two times gets another chance."""
        error = ChecksumError(
            f"{transfer.step} is not what the hub lists: its checksum differs; it was removed",
            hint="run it again; if that does not help, something on the way changes the file",
        )
        if transfer.part.resumed_bytes or transfer.mixed:
            self._restart(transfer, "its parts do not fit together", error)
            return
        transfer.part.discard()
        raise error

    def _say_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self.emit(Notice(message))


def _is_there(job: Job) -> bool:
    with suppress(OSError):
        return job.target.stat().st_size == job.file.size_bytes
    return False
