"""The reference's predictions on disk: written by chunk, told again, refused when they cannot be trusted."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from localllm.errors import ReferenceStoreError, StorageError, VocabularyMismatchError
from localllm.evaluation import ReferenceStore
from localllm.evaluation.kept_rows import KeptRows
from tests.evaluation.distributions import kept, logits

TOKENS = [1, 2, 3, 4]


@pytest.fixture
def rows() -> KeptRows:
    return kept(logits(0, 5, 300, 2))


@pytest.fixture
def store(tmp_path: Path, rows: KeptRows) -> ReferenceStore:
    store = ReferenceStore.create(tmp_path / "reference", 300, 12)
    store.append(0, TOKENS, rows)
    return store


def chunk_file(store: ReferenceStore) -> Path:
    return store.directory / "chunk-000000.bin"


def test_it_is_told_again(store: ReferenceStore, rows: KeptRows) -> None:
    opened = ReferenceStore.open(store.directory)
    assert opened == store
    found = opened.read(0, TOKENS)
    for field in fields(KeptRows):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(rows, field.name))


def test_chunks_are_added(store: ReferenceStore, rows: KeptRows) -> None:
    before = store.size_bytes
    again = ReferenceStore.create(store.directory, 300, 12)
    again.append(7, [5], rows)
    assert again.chunks == [0, 7]
    assert again.size_bytes > before
    assert sorted(path.name for path in store.directory.iterdir()) == [
        "chunk-000000.bin",
        "chunk-000007.bin",
        "reference.json",
    ]


@pytest.mark.parametrize(("vocabulary", "context"), [(301, 12), (300, 16)])
def test_another_kind_is_not_added_to(store: ReferenceStore, vocabulary: int, context: int) -> None:
    with pytest.raises(ReferenceStoreError, match="another model or another size"):
        ReferenceStore.create(store.directory, vocabulary, context)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        json.dumps({"version": 2, "vocabulary_size": 3, "context_size": 4}).encode(),
        json.dumps({"version": 1, "vocabulary_size": 0, "context_size": 4}).encode(),
        json.dumps({"version": 1, "vocabulary_size": "x", "context_size": 4}).encode(),
    ],
)
def test_a_damaged_header_is_refused(store: ReferenceStore, content: bytes) -> None:
    (store.directory / "reference.json").write_bytes(content)
    with pytest.raises(ReferenceStoreError) as caught:
        ReferenceStore.open(store.directory)
    assert caught.value.hint == "it has to be made anew"


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceStoreError, match="cannot be read"):
        ReferenceStore.open(tmp_path / "nothing")


def test_every_damaged_byte_is_noticed(store: ReferenceStore) -> None:
    path = chunk_file(store)
    whole = path.read_bytes()
    for position in {*range(0, len(whole), 37), len(whole) - 1}:
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises((ReferenceStoreError, VocabularyMismatchError)):
            store.read(0, TOKENS)


@pytest.mark.parametrize("length", [0, 1, 50, -1])
def test_a_file_cut_off_is_refused(store: ReferenceStore, length: int) -> None:
    path = chunk_file(store)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ReferenceStoreError, match="are damaged"):
        store.read(0, TOKENS)


def test_a_missing_chunk_is_refused(store: ReferenceStore) -> None:
    with pytest.raises(ReferenceStoreError, match="cannot be read"):
        store.read(1, TOKENS)


def test_tokens_beyond_the_vocabulary_are_refused(store: ReferenceStore, rows: KeptRows) -> None:
    small = ReferenceStore(store.directory, 20, 12)
    with pytest.raises(ReferenceStoreError, match="name tokens that do not exist"):
        small.read(0, TOKENS)


def test_other_tokens_are_another_vocabulary(store: ReferenceStore) -> None:
    with pytest.raises(VocabularyMismatchError, match="other tokens than the reference"):
        store.read(0, [1, 2, 3, 5])


def test_models_that_cannot_be_compared(store: ReferenceStore) -> None:
    store.require_vocabulary(300)
    store.require_context(12)
    with pytest.raises(VocabularyMismatchError, match="knows 299 tokens, the reference 300"):
        store.require_vocabulary(299)
    with pytest.raises(ReferenceStoreError, match="chunks of 12 tokens, not 13"):
        store.require_context(13)


def test_what_a_killed_process_left_is_removed(store: ReferenceStore) -> None:
    left = store.directory / ".chunk-000003.bin.part-999999999"
    left.write_bytes(b"half")
    ReferenceStore.create(store.directory, 300, 12)
    assert not left.exists()
    assert store.chunks == [0]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        ReferenceStore.create(tmp_path / "file" / "reference", 300, 12)
