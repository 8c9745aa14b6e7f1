"""A conversion that llama.cpp would not load is refused before a weight is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from localllm.checkpoint import open_checkpoint
from localllm.conversion.convert import prove_tokenization
from localllm.conversion.prepare import Preparation, Wishes, prepare
from localllm.conversion.vocabulary_file import weightless_file
from localllm.errors import CheckpointError
from localllm.events import ignore
from localllm.gguf_file import read_header
from localllm.gguf_file.writer import uint32
from tests.conversion.tiny_llama import write_tiny_llama


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny-llama")


def prepared(directory: Path) -> Preparation:
    return prepare(open_checkpoint(directory), Wishes(), ignore)


def too_long(work: Preparation) -> Preparation:
    """A mistake of ours: more layers than there are."""
    return replace(work, metadata={**work.metadata, "llama.block_count": uint32(7)})


def test_what_llama_cpp_would_not_load_is_refused(directory: Path) -> None:
    work = prepared(directory)
    prove_tokenization(open_checkpoint(directory), work, forced=False, emit=ignore)
    with pytest.raises(CheckpointError) as caught:
        prove_tokenization(open_checkpoint(directory), too_long(work), forced=False, emit=ignore)
    message = caught.value.message
    assert message.startswith(f"llama.cpp would not load what {directory} becomes: error loading model: ")
    assert message.endswith("attn_norm.weight' not found")
    assert caught.value.hint


def test_the_file_has_the_right_size_and_takes_no_space(directory: Path) -> None:
    work = prepared(directory)
    with weightless_file(work.metadata, (tensor.entry for tensor in work.model.plan.tensors)) as path:
        assert path is not None
        header = read_header(path)
        assert len(header.tensors) == len(work.model.plan.tensors)
        assert path.stat().st_size == header.file_size_bytes


@contextmanager
def small_files_only() -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_where_there_are_no_large_files_the_vocabulary_alone_is_tried(directory: Path) -> None:
    """Some file systems have no holes in files, and no room for a model in the temporary directory."""
    work = prepared(directory)
    with small_files_only():
        with weightless_file(work.metadata, (tensor.entry for tensor in work.model.plan.tensors)) as path:
            assert path is None
        prove_tokenization(open_checkpoint(directory), too_long(work), forced=False, emit=ignore)
