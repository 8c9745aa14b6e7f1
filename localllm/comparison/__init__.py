"""Measures several files of one model side by side: size, speed, memory and quality.

Every file is measured in a child process of its own, so that a crash costs one row and peak memory
is that file's alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localllm.benchmark import measure_speeds
from localllm.errors import LocalLLMError, NotFoundError, StorageError, UsageError
from localllm.evaluation import evaluate_perplexity, split_into_chunks
from localllm.events import Advanced, Emit, Finished, Notice, Started, ignore
from localllm.gguf_file.format import FILE_TYPES, Key
from localllm.gguf_file.preflight import read_loadable
from localllm.machine import peak_memory_bytes, usable_cores
from localllm.native.library import llama
from localllm.native.model import Model
from localllm.native.worker import run_job
from localllm.quantization.contents import bits_per_weight

DEFAULT_REPETITIONS = 3


@dataclass(frozen=True)
class Uncertain:
    """A measured quantity with its standard error."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Measurement:
    """One file's figures; bytes, seconds and tokens per second. `error` says why figures are missing."""

    level: str
    path: str
    size_bytes: int
    bits_per_weight: float
    parameters: int
    load_seconds: float | None = None
    prompt_tokens_per_second: Uncertain | None = None
    generation_tokens_per_second: Uncertain | None = None
    peak_memory_bytes: int | None = None
    perplexity: Uncertain | None = None
    error: str | None = None


@dataclass(frozen=True)
class ComparisonResult:
    """All measurements in the order given, and the settings they were made with."""

    measurements: tuple[Measurement, ...]
    threads: int
    repetitions: int
    evaluated_tokens: int

    @property
    def failed(self) -> bool:
        return any(measurement.error for measurement in self.measurements)


def compare(
    paths: Sequence[Path],
    *,
    text: str | None,
    threads: int | None = None,
    repetitions: int = DEFAULT_REPETITIONS,
    max_chunks: int | None = None,
    emit: Emit = ignore,
) -> ComparisonResult:
    """Measure every GGUF file of `paths`; perplexity is on `text`, or left out when that is None.

    A file whose process fails keeps its row with the reason in `error`. Raise InvalidGGUFError for a
    damaged file before anything is measured.
    """
    threads = threads or usable_cores()
    rows = [_describe(path) for path in paths]
    emit(Started("compare", len(rows), "files"))
    measured: list[Measurement] = []
    tokens = 0
    for index, row in enumerate(rows):
        emit(Advanced("compare", index, row.level))
        arguments = {
            "path": row.path,
            "text": text,
            "threads": threads,
            "repetitions": repetitions,
            "max_chunks": max_chunks,
        }
        measurement, scored = _measure(row, arguments, emit)
        measured.append(measurement)
        tokens = max(tokens, scored)
    emit(Finished("compare"))
    return ComparisonResult(tuple(measured), threads, repetitions, tokens)


def measure_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Measure one file; runs in the child. Memory is read before the evaluation's own arrays exist."""
    llama()  # loading the library itself is not the model's load time
    started = time.perf_counter()
    with Model(Path(arguments["path"])) as model:
        load_seconds = time.perf_counter() - started
        text = arguments["text"]
        chunks = [] if text is None else split_into_chunks(model, text)[: arguments["max_chunks"]]
        threads = arguments["threads"]
        speeds = measure_speeds(model, threads=threads, repetitions=arguments["repetitions"])
        figures: dict[str, Any] = {
            "load_seconds": load_seconds,
            "prompt_tokens_per_second": asdict(speeds.prompt),
            "generation_tokens_per_second": asdict(speeds.generation),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        if chunks:
            found = evaluate_perplexity(model, chunks, threads=threads)
            figures["perplexity"] = {"value": found.value, "stderr": found.stderr}
            figures["evaluated_tokens"] = found.tokens
    return figures


def read_text(path: Path) -> str:
    """Read an evaluation text. Raise NotFoundError or StorageError."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}", hint="`--text` takes a plain text file") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None


def _describe(path: Path) -> Measurement:
    header = read_loadable(path)
    return Measurement(
        level=FILE_TYPES.get(header.integer(Key.FILE_TYPE) or 0, "?"),
        path=str(path),
        size_bytes=header.file_size_bytes,
        bits_per_weight=bits_per_weight(header),
        parameters=header.parameters,
    )


def _measure(row: Measurement, arguments: dict[str, Any], emit: Emit) -> tuple[Measurement, int]:
    """Run the child for one file; return its measurement and how many tokens were scored."""
    try:
        figures = run_job("localllm.comparison:measure_job", arguments, emit=ignore)
    except UsageError:  # the text or an option is wrong for every file
        raise
    except LocalLLMError as error:
        emit(Notice(f"{row.level}: {error.message}", error.hint))
        return Measurement(**{**asdict(row), "error": error.message}), 0
    tokens = figures.pop("evaluated_tokens", 0)
    values = {name: Uncertain(**v) if isinstance(v, dict) else v for name, v in figures.items()}
    return Measurement(**{**asdict(row), **values}), tokens
