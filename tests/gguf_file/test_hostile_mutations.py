"""Random damage of valid files: nothing but our own error, in bounded time and memory, and no dead llama.cpp.

`python -m tests.gguf_file.campaign` does the same with more bases and as many files as one has time for.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.errors import InvalidGGUFError
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.preflight import require_loadable
from tests.gguf_file.loading import load_all
from tests.gguf_file.mutations import KINDS, MEANINGFUL, Sample, mutation, take_apart
from tests.gguf_file.raw import MemorySource
from tests.tiny_gguf import build_tiny_gguf

SEED = 20261125
MUTATIONS = 10_000
MOST_MEMORY = 100_000_000


@pytest.fixture(scope="module", params=["spm", "bpe"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    path = tmp_path_factory.mktemp("sample") / "sample.gguf"
    return take_apart(build_tiny_gguf(path, width=32, layers=2, vocabulary=request.param))


def outcome(data: bytes) -> tuple[str, GGUFHeader | None]:
    """Tell what reader and preflight say to a file; any other exception goes on."""
    try:
        header = read_header(MemorySource(data))
    except InvalidGGUFError as error:
        return _checked(error), None
    try:
        require_loadable(header, "the file")
    except InvalidGGUFError as error:
        return _checked(error), header
    return "accepted", header


def _checked(error: InvalidGGUFError) -> str:
    assert error.message.isprintable()
    assert len(error.message) < 500
    assert error.hint
    return "refused"


def damaged(sample: Sample, count: int, *, meaningful: bool = False) -> Iterator[bytes]:
    for index in range(count):
        yield mutation(sample, SEED, index, meaningful=meaningful)[1]


def test_taking_apart_loses_nothing(narrow_gguf: Path) -> None:
    assert take_apart(narrow_gguf).assemble() == narrow_gguf.read_bytes()


def test_every_kind_of_damage_does_some(sample: Sample) -> None:
    whole = sample.assemble()
    for meaningful, kinds in ((False, KINDS), (True, MEANINGFUL)):
        changed: Counter[str] = Counter()
        for index in range(40 * len(kinds)):
            kind, data = mutation(sample, SEED, index, meaningful=meaningful)
            changed[kind] += data != whole
        assert set(changed) == {kind.__name__ for kind in kinds}
        assert min(changed.values()) > 5


def test_random_damage_is_refused_or_harmless(sample: Sample) -> None:
    """The two samples together get as many mutations as promised."""
    found = Counter(outcome(data)[0] for data in damaged(sample, MUTATIONS // 2))
    assert found["refused"] > found["accepted"] > MUTATIONS // 100


def test_meaningful_damage_is_refused_or_harmless(sample: Sample) -> None:
    found = Counter(outcome(data)[0] for data in damaged(sample, 1000, meaningful=True))
    assert min(found["refused"], found["accepted"]) > 100


def test_random_damage_takes_little_memory(sample: Sample) -> None:
    tracemalloc.start()
    try:
        for data in damaged(sample, 300):
            tracemalloc.reset_peak()
            outcome(data)
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


def test_every_truncation_of_a_header_is_refused(sample: Sample) -> None:
    header = sample.header
    for length in (*range(300), *range(300, len(header), 61), len(header) - 1):
        with pytest.raises(InvalidGGUFError, match=r"truncated|empty|claims to hold"):
            read_header(MemorySource(header[:length]))


@pytest.mark.parametrize("meaningful", [False, True])
def test_what_is_accepted_does_not_kill_llama_cpp(sample: Sample, meaningful: bool, tmp_path: Path) -> None:
    paths = []
    for index, data in enumerate(damaged(sample, 600, meaningful=meaningful)):
        if outcome(data)[0] == "accepted":
            paths.append(tmp_path / f"{index}.gguf")
            paths[-1].write_bytes(data)
    found = load_all(paths)
    assert found.killers == {}
    assert found.survived > 10
