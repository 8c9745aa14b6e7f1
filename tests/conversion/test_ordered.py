"""Threads work ahead, results come in order, and only so many exist at a time."""

from __future__ import annotations

import threading
import time

import pytest

from localllm.conversion.ordered import in_order


def test_results_come_in_the_order_of_the_jobs() -> None:
    def work(job: int, _: object) -> int:
        time.sleep(0.002 * (job % 3))
        return job * job

    assert list(in_order(range(50), work, [object() for _ in range(5)], 3)) == [n * n for n in range(50)]


def test_a_space_belongs_to_one_job_until_its_result_was_used() -> None:
    spaces = [[0] for _ in range(3)]

    def work(job: int, space: list[int]) -> list[int]:
        space[0] = job
        return space

    for expected, space in enumerate(in_order(range(30), work, spaces, 2)):
        time.sleep(0.001)
        assert space[0] == expected


def test_jobs_are_not_begun_too_far_ahead() -> None:
    begun = 0

    def jobs() -> object:
        nonlocal begun
        for job in range(100):
            begun += 1
            yield job

    results = in_order(jobs(), lambda job, _: job, [None] * 4, 2)
    for used in range(20):
        assert next(results) == used
        assert begun <= used + 1 + 4
    results.close()
    assert begun < 30


def test_the_first_error_in_order_is_raised_and_the_rest_is_dropped() -> None:
    done = []

    def work(job: int, _: object) -> int:
        if job == 5:
            time.sleep(0.05)
            raise ValueError("five")
        if job == 6:
            raise ValueError("six")
        done.append(job)
        return job

    with pytest.raises(ValueError, match="five"):
        list(in_order(range(100), work, [None] * 4, 4))
    assert len(done) < 20


def test_closing_waits_for_the_threads() -> None:
    before = threading.active_count()
    results = in_order(range(100), lambda job, _: time.sleep(0.01), [None] * 4, 4)
    next(results)
    results.close()
    assert threading.active_count() == before
