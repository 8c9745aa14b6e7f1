"""Scores of positions: kept in a file, joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localllm.errors import ReferenceStoreError
from localllm.evaluation import Scores


def compared(count: int) -> Scores:
    along = np.arange(count)
    return Scores(
        along * 1.0, along * 0.5, along.astype(np.float32), -along.astype(np.float32), along % 2 == 0
    )


def test_they_come_back_from_a_file(tmp_path: Path) -> None:
    for scores in (compared(5), Scores(np.array([1.0, 2.0])), Scores(np.empty(0))):
        scores.save(tmp_path / "scores.npz")
        found = Scores.load(tmp_path / "scores.npz")
        assert found.is_compared == scores.is_compared
        for name, values in vars(scores).items():
            np.testing.assert_array_equal(vars(found)[name], values)
            assert values is None or vars(found)[name].dtype == values.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "scores.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReferenceStoreError, match="cannot be read"):
        Scores.load(path)


def test_a_file_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    compared(50).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ReferenceStoreError):
        Scores.load(path)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    np.savez(path, nll=np.zeros(3), reference_nll=np.zeros(3), kl=np.zeros(2), delta_p=np.zeros(3))
    with pytest.raises(ReferenceStoreError, match="are damaged"):
        Scores.load(path)


def test_parts_are_joined() -> None:
    whole = Scores.joined([compared(2), compared(3)])
    assert whole.nll.tolist() == [0, 1, 0, 1, 2]
    assert whole.kl is not None
    assert whole.kl.tolist() == [0, 1, 0, 1, 2]
    assert len(whole) == 5
    assert not Scores.joined([compared(2), Scores(np.zeros(1))]).is_compared
    assert len(Scores.joined([])) == 0
