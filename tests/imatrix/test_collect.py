"""Collecting an importance matrix: the numbers against numpy, the counts, and what can go wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localllm.conversion.convert import convert
from localllm.errors import (
    ImportanceMatrixError,
    InvalidGGUFError,
    NotFoundError,
    SameFileError,
    UsageError,
)
from localllm.events import Advanced, Event, Finished, Notice, Started
from localllm.imatrix import collect_imatrix, read_imatrix, read_text
from localllm.imatrix.chunks import cut
from localllm.native.model import Model
from localllm.store import shipped_checkpoint
from tests.imatrix import forward
from tests.tiny_gguf import build_tiny_gguf, raw_tensor

TEXT = " ".join("abcdefghij"[i * i % 7 : 3 + i * 5 % 8] for i in range(400))
TEXTS = [("letters.txt", TEXT)]
CLOSE = 5e-3  # llama.cpp adds up attention's values in float16


def chunks_of(model: Path, size: int) -> list[list[int]]:
    """Return the chunks, made here of the tokens of llama.cpp, with BOS in front of each."""
    with Model(model, vocabulary_only=True) as vocabulary:
        assert vocabulary.adds_bos
        tokens = vocabulary.tokenize(TEXT, add_special=True, parse_special=False)
        return [
            [vocabulary.bos, *tokens[start + 1 : start + size]]
            for start in range(0, len(tokens) - size + 1, size)
        ]


def collect(model: Path, output: Path, **options: object) -> list[Event]:
    events: list[Event] = []
    settings = {"context_size": 32, "threads": 1, "emit": events.append, **options}
    collect_imatrix(model, TEXTS, output=output, **settings)  # type: ignore[arg-type]
    return events


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return forward.dense_model(tmp_path_factory.mktemp("dense") / "dense-F32.gguf")


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return forward.routed_model(tmp_path_factory.mktemp("routed") / "routed-F32.gguf")


@pytest.mark.parametrize("size", [16, 24, 32, 600])
def test_every_weight_of_a_dense_model(size: int, dense: Path, tmp_path: Path) -> None:
    """Chunks that share a batch (16, 24, 32) and chunks of several batches (600)."""
    collect(dense, tmp_path / "m.gguf", context_size=size)
    matrix = read_imatrix(tmp_path / "m.gguf")
    chunks = chunks_of(dense, size)
    expected = forward.expected_inputs(dense, chunks)
    assert matrix.entries.keys() == expected.keys() - {"output.weight"}
    for name, values in matrix.entries.items():
        (rows,) = expected[name]
        np.testing.assert_allclose(values, (rows * rows).mean(axis=0)[None], CLOSE, err_msg=name)
    assert (matrix.datasets, matrix.chunks, matrix.chunk_size) == (("letters.txt",), len(chunks), size)


def test_the_first_layer_sees_normed_embeddings(narrow_gguf: Path, tmp_path: Path) -> None:
    """The plainest fact, of an ordinary model: the input of attn_q is the token's embedding, normed."""
    from gguf import GGUFReader

    collect(narrow_gguf, tmp_path / "m.gguf")
    (embeddings,) = (t.data for t in GGUFReader(narrow_gguf).tensors if t.name == "token_embd.weight")
    rows = np.array(embeddings, np.float64)[np.concatenate(chunks_of(narrow_gguf, 32))]
    normed = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-5)
    found = read_imatrix(tmp_path / "m.gguf").entries["blk.0.attn_q.weight"]
    np.testing.assert_allclose(found, (normed**2).mean(axis=0)[None], 1e-5)


def test_every_expert_sees_the_tokens_sent_to_it(routed: Path, tmp_path: Path) -> None:
    events = collect(routed, tmp_path / "m.gguf")
    matrix = read_imatrix(tmp_path / "m.gguf")
    expected = forward.expected_inputs(routed, chunks_of(routed, 32))
    assert matrix.entries.keys() == expected.keys() - {"output.weight"}
    for name, values in matrix.entries.items():
        means = [(rows * rows).mean(axis=0) if len(rows) else np.ones(64) for rows in expected[name]]
        np.testing.assert_allclose(values, np.stack(means), CLOSE, err_msg=name)
    assert len(matrix.entries["blk.0.ffn_up_exps.weight"]) == forward.EXPERTS
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.message for notice in notices] == ["some experts were never chosen in 3 of 8 tensors"]


def test_what_is_said_of_the_result(routed: Path, tmp_path: Path) -> None:
    result = collect_imatrix(
        routed, TEXTS, output=tmp_path / "m.gguf", context_size=32, max_chunks=5, threads=1
    )
    assert result.path == tmp_path / "m.gguf"
    assert (result.datasets, result.chunks, result.chunk_size, result.tokens) == (
        ("letters.txt",),
        5,
        32,
        160,
    )
    assert result.entries == 8
    assert result.partial == tuple(f"blk.0.ffn_{name}_exps.weight" for name in ("down", "gate", "up"))
    assert result.seconds > 0


def test_the_output_matrix_on_request(dense: Path, tmp_path: Path) -> None:
    collect(dense, tmp_path / "m.gguf", process_output=True)
    found = read_imatrix(tmp_path / "m.gguf").entries["output.weight"]
    (rows,) = forward.expected_inputs(dense, chunks_of(dense, 32))["output.weight"]
    np.testing.assert_allclose(found, (rows * rows).mean(axis=0)[None], CLOSE)


def test_progress_is_told(narrow_gguf: Path, tmp_path: Path) -> None:
    events = collect(narrow_gguf, tmp_path / "m.gguf", context_size=64, max_chunks=11)
    steps = [event for event in events if not isinstance(event, Notice)]
    assert steps == [
        Started("imatrix", 11, "chunks"),
        Advanced("imatrix", 8),  # eight chunks share a batch
        Advanced("imatrix", 11),
        Finished("imatrix"),
    ]


def test_the_same_file_twice(narrow_gguf: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        collect(narrow_gguf, tmp_path / name)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_several_texts(narrow_gguf: Path, tmp_path: Path) -> None:
    """Two texts too short alone are enough together, and all their tokens but the last few are used."""
    texts = [("a.txt", "abc" * 20), ("b.txt", "defg" * 20)]
    result = collect_imatrix(narrow_gguf, texts, output=tmp_path / "m.gguf", context_size=40, threads=1)
    with Model(narrow_gguf, vocabulary_only=True) as vocabulary:
        tokens = [vocabulary.tokenize(text, add_special=True, parse_special=False) for _, text in texts]
    assert result.chunks == len(cut(tokens, 40)) == sum(map(len, tokens)) // 40
    assert read_imatrix(tmp_path / "m.gguf").datasets == ("a.txt", "b.txt")


def test_control_tokens_on_request(narrow_gguf: Path, tmp_path: Path) -> None:
    """`</s>` is one token or four bytes, so the number of chunks tells which it was."""
    texts = [("a.txt", "a</s>" * 100)]
    counts = [
        collect_imatrix(
            narrow_gguf, texts, output=tmp_path / "m.gguf", context_size=16, threads=1, parse_special=parse
        ).chunks
        for parse in (False, True)
    ]
    assert counts[0] > 2 * counts[1]


def test_chunks_longer_than_the_context_are_noted(narrow_gguf: Path, tmp_path: Path) -> None:
    events = collect(narrow_gguf, tmp_path / "m.gguf", context_size=100, max_chunks=1)
    assert any(
        "longer than the model's context, 64" in event.message
        for event in events
        if isinstance(event, Notice)
    )


def test_the_demo_model_on_its_own_text(tmp_path: Path) -> None:
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    model = convert(checkpoint, output=tmp_path / "demo.gguf").path
    result = collect_imatrix(
        model, [read_text(checkpoint / "eval.txt")], output=tmp_path / "m.gguf", max_chunks=2
    )
    matrix = read_imatrix(result.path)
    assert (result.entries, matrix.chunks, matrix.datasets) == (28, 2, ("eval.txt",))
    assert all(values.max() > 2 * values.mean() for values in matrix.entries.values())  # not all alike


def test_a_text_too_short(narrow_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has only 4 tokens, but at least 2 chunks of 32") as caught:
        collect_imatrix(narrow_gguf, [("short.txt", "abc")], output=tmp_path / "m.gguf", context_size=32)
    assert "--file" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"context_size": 15}, {"max_chunks": 0}])
def test_options_without_meaning(options: dict[str, int], narrow_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        collect(narrow_gguf, tmp_path / "m.gguf", **options)


def test_no_text(narrow_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        collect_imatrix(narrow_gguf, [], output=tmp_path / "m.gguf")


def test_the_model_is_not_overwritten(narrow_gguf: Path) -> None:
    before = narrow_gguf.read_bytes()
    with pytest.raises(SameFileError):
        collect(narrow_gguf, narrow_gguf)
    assert narrow_gguf.read_bytes() == before


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        collect(tmp_path / "none.gguf", tmp_path / "m.gguf")


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF but nothing else")
    with pytest.raises(InvalidGGUFError):
        collect(tmp_path / "x.gguf", tmp_path / "m.gguf")


def test_a_model_with_infinite_numbers_names_the_tensor(tmp_path: Path) -> None:
    huge = raw_tensor(np.full((64, 64), 1e30, np.float32))
    model = build_tiny_gguf(tmp_path / "x.gguf", width=64, layers=1, tensors={"blk.0.ffn_up.weight": huge})
    with pytest.raises(ImportanceMatrixError, match=r"`blk\.0\.ffn_down\.weight` is not finite"):
        collect(model, tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == [model]
