"""The verbs of localllm on model references: what the command line runs and Python users call.

A `model` is what users type: a path, a name in the library, either with `:LEVEL`. Results go into
the library unless `output` says otherwise. Every function raises a LocalLLMError when it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from localllm import comparison, inspection, pipeline
from localllm.comparison import ComparisonResult
from localllm.conversion import convert as conversion
from localllm.conversion.convert import ConversionResult
from localllm.conversion.out_type import OutType
from localllm.engine import Engine, LlamaEngine
from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.inspection import ModelDescription
from localllm.quantization import Level, QuantizationResult, parse_levels
from localllm.store import (
    DEMO,
    existing_file,
    model_name,
    models_directory,
    output_path,
    resolve,
    resolve_source,
    shipped_checkpoint,
    stored_models,
)

Model = str | PathLike[str]


def convert(
    source: Model,
    *,
    output: Model | None = None,
    out_type: str = OutType.AUTO,
    name: str | None = None,
    pre: str | None = None,
    emit: Emit = ignore,
) -> ConversionResult:
    """Convert a checkpoint directory to a GGUF file; `out_type` is auto, f32, f16, bf16 or q8_0."""
    path = _checkpoint_directory(source)
    chosen = OutType(out_type)
    target = Path(output) if output else _library_target(path, chosen)
    return conversion.convert(path, output=target, out_type=chosen, name=name, pre=pre, emit=emit)


def quantize(
    model: Model,
    levels: Sequence[str],
    *,
    output: Model | None = None,
    threads: int | None = None,
    emit: Emit = ignore,
) -> list[QuantizationResult]:
    """Quantize a checkpoint or a 16- or 32-bit GGUF file at every one of `levels`.

    `output` names a file for one level, a directory for several or when it ends with a separator.
    """
    wanted = parse_levels(levels)
    found = resolve_source(fspath(model))
    targets = _targets(found.name, wanted, output)
    return pipeline.quantize_model(found.path, targets, threads=threads, emit=emit)


def inspect(model: Model) -> ModelDescription:
    """Describe a GGUF file from its header."""
    return inspection.inspect(existing_file(fspath(model)))


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
    paths = list(dict.fromkeys(path for model in models for path in _files(model)))
    return comparison.compare(
        paths,
        text=comparison.read_text(text or _evaluation_text(paths[0], emit)),
        threads=threads,
        repetitions=repetitions,
        max_chunks=max_chunks,
        emit=emit,
    )


def load(
    model: Model, *, context_size: int | None = None, threads: int | None = None, emit: Emit = ignore
) -> Engine:
    """Load a model and return an engine that answers conversations.

    A checkpoint is quantized into the library first. `context_size` is in tokens; None takes what
    the model was trained for, up to 8192.
    """
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    path = pipeline.runnable_file(found, emit=emit)
    return LlamaEngine(path, context_size=context_size, threads=threads)


def _checkpoint_directory(source: Model) -> Path:
    """Return a path as it is, or the checkpoint a library name stands for."""
    path = Path(source).expanduser()
    return path if path.exists() else resolve_source(fspath(source)).path


def _library_target(checkpoint: Path, out_type: OutType) -> Path:
    """Name the output after the type; `auto` is resolved from the checkpoint first."""
    level = out_type.value.upper()
    if out_type is OutType.AUTO:
        level = conversion.resolve_type(checkpoint).name
    return output_path(model_name(checkpoint.resolve()), level)


def _targets(name: str, levels: Sequence[Level], output: Model | None) -> list[tuple[Level, Path]]:
    if output is None:
        return [(level, output_path(name, level.name)) for level in levels]
    text, path = fspath(output), Path(output).expanduser()
    if len(levels) == 1 and not path.is_dir() and not text.endswith("/"):
        return [(levels[0], path)]
    if path.is_file():
        raise UsageError(f"{path} is a file, but several levels need a directory")
    return [(level, path / f"{name}-{level.name}.gguf") for level in levels]


def _files(model: Model) -> list[Path]:
    """Return the GGUF files a comparison of `model` covers, smallest first."""
    text = fspath(model)
    stored = [entry.path for entry in stored_models() if entry.name == text]
    if stored:
        return stored
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.gguf"), key=lambda file: file.stat().st_size)
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
