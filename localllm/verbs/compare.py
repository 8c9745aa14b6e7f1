"""`compare`: files of a model side by side."""

from __future__ import annotations

from collections.abc import Sequence
from os import fspath
from pathlib import Path

from localllm import comparison
from localllm.comparison import ComparisonResult
from localllm.errors import NotFoundError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.split_names import starts_model
from localllm.library.usage import note_use
from localllm.refs import Model
from localllm.store import (
    DEMO,
    existing_file,
    models_directory,
    shipped_checkpoint,
    size_on_disk,
    stored_models,
)
from localllm.verbs.pull import have


def compare(
    models: Sequence[Model],
    *,
    text: Path | None = None,
    threads: int | None = None,
    repetitions: int = comparison.DEFAULT_REPETITIONS,
    max_chunks: int | None = None,
    emit: Emit = ignore,
) -> ComparisonResult:
    """Measure files side by side; a library name without level stands for all its files."""
    have(*models, emit=emit)
    paths = list(dict.fromkeys(path for model in models for path in _files(model)))
    for path in paths:
        note_use(path)
    return comparison.compare(
        paths,
        text=comparison.read_text(text or _evaluation_text(paths[0], emit)),
        threads=threads,
        repetitions=repetitions,
        max_chunks=max_chunks,
        emit=emit,
    )


def _files(model: Model) -> list[Path]:
    """Return the GGUF files a comparison of `model` covers, smallest first."""
    text = fspath(model)
    stored = [entry.path for entry in stored_models() if entry.name == text]
    if stored:
        return stored
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted(filter(starts_model, path.glob("*.gguf")), key=size_on_disk)
        if files:
            return files
    return [existing_file(fspath(model))]


def _evaluation_text(first: Path, emit: Emit) -> Path:
    """Return the model's own eval.txt, or the text that ships with the demo."""
    own = first.parent / "eval.txt"
    if own.is_file():
        return own
    demo = shipped_checkpoint(DEMO)
    if demo is None or not (demo / "eval.txt").is_file():
        raise NotFoundError("there is no text to measure perplexity on", hint="pass one with `--text FILE`")
    if first.parent != models_directory() / DEMO:
        emit(Notice("perplexity is measured on the demo's text", hint="pass your own with `--text FILE`"))
    return demo / "eval.txt"
