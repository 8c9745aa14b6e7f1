"""Works on pieces in threads and hands them over in order, with a bounded number of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Space = TypeVar("Space")
Result = TypeVar("Result")


def in_order(
    jobs: Iterable[Job],
    work: Callable[[Job, Space], Result],
    spaces: Sequence[Space],
    threads: int,
) -> Generator[Result, None, None]:
    """Yield `work(job, space)` for every job, in order.

    A job has one of `spaces` to itself until the result after its own is asked for, so there are never more
    jobs begun than spaces. The first error in the order of jobs is raised; closing the iterator waits for
    the jobs that have begun.
    """
    free, begun = list(spaces), deque[tuple[Future[Result], Space]]()
    with ThreadPoolExecutor(threads, thread_name_prefix="piece") as pool:
        try:
            for job in jobs:
                if not free:
                    future, space = begun.popleft()
                    yield future.result()
                    free.append(space)
                space = free.pop()
                begun.append((pool.submit(work, job, space), space))
            while begun:
                yield begun.popleft()[0].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
