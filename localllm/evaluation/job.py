"""Evaluates a model in a child process: see `evaluate_job`."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localllm.evaluation.chat import tokenize_chats
from localllm.evaluation.evaluator import evaluate, evaluate_reference
from localllm.evaluation.scores import Scores
from localllm.evaluation.store import ReferenceStore
from localllm.evaluation.tokens import cut_into_chunks, tokenize_texts
from localllm.events import Emit
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.preflight import read_loadable
from localllm.imatrix import read_text
from localllm.machine import peak_memory_bytes
from localllm.native.model import Model


def evaluate_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Evaluate a model on chunks of some texts and write its scores; to be run with `native.worker`.

    Arguments: the model's `path`; `texts`, the paths of text files, made chats with `chat_format`; of the
    chunks of `context_size` tokens that they give, `chunks` from number `first_chunk` on; `threads`;
    `reference`, the directory of a ReferenceStore or None, which is written when `writes_reference` is set;
    and `scores`, the file to write. Returned are how many `chunks` were evaluated, how many there are
    (`available_chunks`), how many `tokens` were scored, `peak_memory_bytes`, and the `seconds` it took
    without loading the model.
    Raise UsageError for too short a text, VocabularyMismatchError and ReferenceStoreError when the reference
    does not fit or cannot be used.
    """
    path, size, first = Path(arguments["path"]), arguments["context_size"], arguments["first_chunk"]
    header = read_loadable(path)
    with Model(path) as model:
        available = _chunks(model, header, arguments)
        chunks = available[first : first + arguments["chunks"]]
        importlib.import_module("numpy")  # takes as long as a small model's chunk
        started = time.perf_counter()
        scores = _evaluate(model, chunks, arguments, size, emit)
        seconds = time.perf_counter() - started
    scores.save(Path(arguments["scores"]))
    return {
        "chunks": len(chunks),
        "available_chunks": len(available),
        "tokens": len(scores),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _chunks(model: Model, header: GGUFHeader, arguments: dict[str, Any]) -> list[list[int]]:
    texts = [read_text(Path(path))[1] for path in arguments["texts"]]
    tokenized = (
        tokenize_chats(model, header, texts) if arguments["chat_format"] else tokenize_texts(model, texts)
    )
    return cut_into_chunks(model, tokenized, arguments["context_size"])


def _evaluate(
    model: Model, chunks: Sequence[Sequence[int]], arguments: dict[str, Any], size: int, emit: Emit
) -> Scores:
    directory = Path(arguments["reference"]) if arguments["reference"] else None
    first, threads = arguments["first_chunk"], arguments["threads"]
    if directory is None:
        return evaluate(model, chunks, threads=threads, emit=emit)
    if arguments["writes_reference"]:
        store = ReferenceStore.create(directory, model.vocabulary_size, size)
        return evaluate_reference(model, chunks, store, threads=threads, first_chunk=first, emit=emit)
    store = ReferenceStore.open(directory)
    return evaluate(model, chunks, threads=threads, first_chunk=first, reference=store, emit=emit)
