"""Measures an importance matrix: runs a model over text in a child process, summing up what its weights see.

Each text is tokenized with the special tokens the model wants and cut into chunks (see `chunks`). Every
chunk starts from an empty cache and, where the model adds BOS, with BOS in place of its first token. All
logits are asked for, so that the last layer computes every row.
Source of the procedure: tools/imatrix/imatrix.cpp of llama.cpp.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.errors import ImportanceMatrixError, UsageError
from localllm.events import Advanced, Emit, Finished, Notice, Started, ignore
from localllm.gguf_file.preflight import read_loadable
from localllm.imatrix.chunks import Tokens, cut, passes, plan
from localllm.imatrix.reading import read_imatrix
from localllm.imatrix.writing import write_imatrix
from localllm.machine import usable_cores
from localllm.native.activations import CALLBACK, FEWEST_ROWS, ActivationSums, collecting
from localllm.native.context import Context
from localllm.native.model import Model
from localllm.native.worker import run_job
from localllm.publication import publishing, require_distinct, translated_errors

DEFAULT_CONTEXT = 512
_FEWEST_CHUNKS = 2  # as llama-imatrix demands of a text
_STEP = "imatrix"


@dataclass(frozen=True)
class ImatrixResult:
    """An importance matrix that was written to `path`.

    It was measured on `chunks` chunks of `chunk_size` tokens, `tokens` in all. `entries` counts the weights;
    `partial` names those with experts that no token was sent to.
    """

    path: Path
    datasets: tuple[str, ...]
    chunks: int
    chunk_size: int
    tokens: int
    entries: int
    partial: tuple[str, ...]
    seconds: float


def collect_imatrix(
    model: Path,
    texts: Sequence[tuple[str, str]],
    *,
    output: Path,
    context_size: int = DEFAULT_CONTEXT,
    max_chunks: int | None = None,
    threads: int | None = None,
    process_output: bool = False,
    parse_special: bool = False,
    emit: Emit = ignore,
) -> ImatrixResult:
    """Run the GGUF file `model` over `texts`, pairs of name and content, and write the matrix to `output`.

    `context_size` is in tokens; `max_chunks` takes the first chunks only, of all texts in turns. With
    `process_output` there is an entry for the output matrix, too; with `parse_special` the texts of control
    tokens become those tokens. Raise UsageError when all texts together give fewer than two chunks,
    ImportanceMatrixError when the model computes numbers that are not finite.
    """
    started = time.monotonic()
    _check_options(texts, context_size, max_chunks)
    header = read_loadable(model)
    require_distinct(model, output)
    trained = header.architecture_integer("context_length") or context_size
    if trained < context_size:
        emit(Notice(f"chunks of {context_size} tokens are longer than the model's context, {trained}"))
    with publishing(output) as part:
        arguments = {
            "model": str(model),
            "texts": [list(text) for text in texts],
            "part": str(part),
            "output": str(output),
            "context_size": context_size,
            "max_chunks": max_chunks,
            "threads": threads or usable_cores(),
            "process_output": process_output,
            "parse_special": parse_special,
        }
        made = run_job("localllm.imatrix.collect:collect_job", arguments, emit=emit)
        entries = len(read_imatrix(part).entries)
    _tell_partial(made["partial"], entries, emit)
    return ImatrixResult(
        path=output,
        datasets=tuple(name for name, _ in texts),
        chunks=made["chunks"],
        chunk_size=context_size,
        tokens=made["chunks"] * context_size,
        entries=entries,
        partial=tuple(made["partial"]),
        seconds=time.monotonic() - started,
    )


def collect_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Serve `collect_imatrix` in the child: write the part file and return what it holds."""
    size = arguments["context_size"]
    sums = ActivationSums(with_output=arguments["process_output"])
    with Model(Path(arguments["model"])) as model:
        chunks = _chunks(model, arguments)
        _run(model, chunks, sums, arguments["threads"], emit)
    if not sums.inputs:
        raise ImportanceMatrixError("the model has no layers whose inputs could be measured")
    with translated_errors(Path(arguments["output"])):
        write_imatrix(
            Path(arguments["part"]),
            sums.inputs,
            datasets=[name for name, _ in arguments["texts"]],
            chunks=len(chunks),
            chunk_size=size,
        )
    partial = sorted(name for name, inputs in sums.inputs.items() if inputs.is_partial)
    return {"chunks": len(chunks), "partial": partial}


def _check_options(texts: Sequence[tuple[str, str]], context_size: int, max_chunks: int | None) -> None:
    if not texts:
        raise UsageError("there is no text to run the model on")
    if context_size < FEWEST_ROWS:
        raise UsageError(f"chunks of {context_size} tokens are too short; {FEWEST_ROWS} are the fewest")
    if max_chunks is not None and max_chunks < 1:
        raise UsageError("at least one chunk is needed")


def _tell_partial(partial: Sequence[str], entries: int, emit: Emit) -> None:
    if partial:
        emit(
            Notice(
                f"some experts were never chosen in {len(partial)} of {entries} tensors",
                hint="a longer text reaches more of them; until then their columns count alike",
                topic="imatrix",
            )
        )


def _chunks(model: Model, arguments: dict[str, Any]) -> list[list[int]]:
    size, special = arguments["context_size"], arguments["parse_special"]
    tokenized = [
        model.tokenize(text, add_special=True, parse_special=special) for _, text in arguments["texts"]
    ]
    chunks = cut(tokenized, size, bos=model.bos if model.adds_bos else None)
    if len(chunks) < _FEWEST_CHUNKS:
        total = sum(map(len, tokenized))
        raise UsageError(
            f"the text has only {total} tokens, but at least {_FEWEST_CHUNKS} chunks of {size} are needed",
            hint="name a longer text: `imatrix --file`, `quantize --calibration`",
        )
    return chunks[: arguments["max_chunks"]]


def _run(model: Model, chunks: Sequence[Tokens], sums: ActivationSums, threads: int, emit: Emit) -> None:
    """Decode all chunks, each from an empty cache."""
    size = len(chunks[0])
    how = plan(size, len(chunks))
    emit(Started(_STEP, len(chunks), "chunks"))
    context = Context(
        model,
        context_size=size * how.together,
        threads=threads,
        batch_size=how.batch_tokens,
        sequences=how.together,
        eval_callback=CALLBACK,
    )
    with context, collecting(sums):
        done = 0
        for group in passes(chunks, how.together):
            context.clear()
            for start in range(0, size, how.step):
                context.decode_together([chunk[start : start + how.step] for chunk in group], start=start)
                context.synchronize()
                sums.check()
            done += len(group)
            emit(Advanced(_STEP, done))
    emit(Finished(_STEP))
