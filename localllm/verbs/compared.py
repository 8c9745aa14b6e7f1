"""What MODEL means for `compare`: the files there are, what levels can be made from, and the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import fspath
from pathlib import Path

from localllm.checkpoint import open_checkpoint
from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit
from localllm.gguf_file.split_names import starts_model
from localllm.library.finding import find
from localllm.library.found import Kind, is_model_name
from localllm.quantization.levels import parse_levels
from localllm.quantization.up_to_date import input_files, is_younger
from localllm.refs import Model, ModelRef, RefKind
from localllm.store import (
    UNQUANTIZED_LEVELS,
    Resolved,
    level_in_name,
    library_checkpoint,
    model_name,
    models_directory,
    resolve,
    resolve_source,
    size_on_disk,
    stored_models,
)
from localllm.verbs.pull import have
from localllm.verbs.references import adapter_at

DEFAULT_LEVELS = "recommended"


@dataclass(frozen=True)
class Compared:
    """What is compared: `files` that are there, and `missing` levels to make of `origin` by quantizing.

    `reference` is the level of the reference to make from `against`; None when a file is to be it: `against`,
    or the most precise one. `source` is the path of what `name` stands for.
    """

    name: str
    source: Path | None
    files: tuple[Path, ...]
    origin: str | None
    missing: tuple[str, ...]
    against: str | None
    against_file: Path | None
    reference: str | None


@dataclass(frozen=True)
class _Meant:
    """What one MODEL stands for: its files, and what can be quantized; `level` is one that was asked for."""

    name: str
    path: Path
    files: tuple[Path, ...]
    origin: str | None
    level: str | None = None
    stands_for_one: bool = False

    @property
    def checkpoint(self) -> Path | None:
        return self.path if self.path.is_dir() and self.origin is not None else None


def what_to_compare(
    models: Sequence[Model], levels: Sequence[str], against: Model | None, emit: Emit
) -> Compared:
    """Find out what `models`, `levels` and `against` ask for.

    Raise UsageError, NotFoundError, UnknownLevelError, or what pulling raises.
    """
    if not models:
        raise UsageError("nothing to compare", hint="name a model: `localllm compare demo`")
    meant = [_meant(model, levels, emit) for model in models]
    origin = next((each for each in meant if each.origin is not None), None)
    there = _by_level(meant)
    wanted = _wanted_levels(meant, levels, there, has_origin=origin is not None)
    missing = tuple(level for level in wanted if level not in there)
    if missing and origin is None:
        raise NotFoundError(
            f"`{fspath(models[0])}` is not there at {', '.join(missing)}, and nothing to make that from",
            hint="name the checkpoint, or a GGUF file that is not quantized",
        )
    files = _files(meant, levels, wanted, there)
    other = None if against is None else _meant(against, (), emit)
    reference, against_origin, against_file = _reference(origin, other, [*files, *there.values()])
    return Compared(
        name=meant[0].name,
        source=meant[0].path if len(meant) == 1 else None,
        files=tuple(files),
        origin=None if origin is None else origin.origin,
        missing=missing,
        against=against_origin,
        against_file=against_file,
        reference=None if reference in missing else reference,
    )


def _meant(model: Model, levels: Sequence[str], emit: Emit) -> _Meant:
    text = fspath(model)
    if adapter_at(model) is not None:
        raise UsageError(
            f"{text} is an adapter: there is nothing to run yet",
            hint=f"make a model of it with `localllm quantize {text} -q {DEFAULT_LEVELS}` and compare that",
        )
    have(model, emit=emit)
    ref = ModelRef.parse(text)
    if ref.kind is RefKind.LIBRARY and ref.level is None:
        found = _in_library(ref.target)
        if found is not None:
            return found
    if ref.kind is RefKind.HUB and not Path(text.partition(":")[0]).expanduser().exists():
        return _of_hub(ref, levels, emit)
    path = Path(text).expanduser()
    if path.is_dir() and not (path / "config.json").is_file():
        return _directory_of_files(path)
    return _resolved(resolve(text), _without_level(ref, text))


def _in_library(name: str) -> _Meant | None:
    """Return all there is of a name in the library; None when it is no such name."""
    files = [model.path for model in stored_models() if model.name == name]
    checkpoint = library_checkpoint(name)
    if checkpoint is not None:
        return _Meant(name, checkpoint, _fresh(files, checkpoint), name)
    if not files:
        return None
    origin = name if any(level_in_name(path) in UNQUANTIZED_LEVELS for path in files) else None
    return _Meant(name, models_directory() / name, tuple(files), origin)


def _of_hub(ref: ModelRef, levels: Sequence[str], emit: Emit) -> _Meant:
    """Return the files of a repository that are here, and its checkpoint if that is.

    Of `levels` those that cannot be made from what is here are downloaded.
    """
    text = str(ref)
    if ref.level is not None or ref.file is not None:
        return _resolved(resolve(text), str(replace(ref, level=None)))
    source = resolve_source(text)
    if source.is_checkpoint:
        return _resolved(source, text)
    models = [found for found in find(text) if found.kind is Kind.MODEL and found.is_complete]
    commit = next((found.commit for found in models if source.path in found.files), None)
    files = tuple(found.files[0] for found in models if found.commit == commit) or (source.path,)
    unquantized = _unquantized(files)
    here = {level_in_name(path) for path in files}
    lacking = [level.name for level in parse_levels(levels) if level.name not in here] if levels else []
    if lacking and unquantized is None:
        have(*(str(replace(ref, level=level)) for level in lacking), emit=emit)
        return _of_hub(ref, (), emit)
    return _Meant(source.name, source.path, files, None if unquantized is None else str(unquantized))


def _directory_of_files(directory: Path) -> _Meant:
    files = sorted(filter(starts_model, filter(is_model_name, directory.glob("*.gguf"))), key=size_on_disk)
    if not files:
        raise NotFoundError(
            f"{directory} holds neither GGUF files nor a checkpoint",
            hint="name a .gguf file, or a directory with config.json and model.safetensors",
        )
    unquantized = _unquantized(files)
    names = {model_name(path) for path in files}
    name = names.pop() if len(names) == 1 else directory.resolve().name
    return _Meant(name, directory, tuple(files), None if unquantized is None else str(unquantized))


def _resolved(found: Resolved, text: str) -> _Meant:
    """Return what a path or a name with a level stands for; `text` is the same without the level."""
    if not found.is_checkpoint:
        is_source = found.level in UNQUANTIZED_LEVELS
        origin = str(found.path) if is_source else None
        return _Meant(found.name, found.path, (found.path,), origin, stands_for_one=True)
    beside = [path for path in found.path.glob("*.gguf") if starts_model(path) and is_model_name(path)]
    stored = [model.path for model in stored_models() if model.name == found.name]
    files = list({path.resolve(): path for path in (*beside, *stored)}.values())
    return _Meant(found.name, found.path, _fresh(files, found.path), text, found.level)


def _without_level(ref: ModelRef, text: str) -> str:
    return text if ref.level is None else str(replace(ref, level=None))


def _fresh(files: Iterable[Path], checkpoint: Path) -> tuple[Path, ...]:
    """Return the files that were made since the checkpoint last changed, smallest first."""
    inputs = input_files([checkpoint])
    return tuple(sorted((path for path in files if is_younger(path, inputs)), key=size_on_disk))


def _by_level(meant: Sequence[_Meant]) -> dict[str, Path]:
    """Return the files that are there by the level their names tell."""
    found: dict[str, Path] = {}
    for each in meant:
        for path in each.files:
            found.setdefault(level_in_name(path) or path.stem, path)
    return found


def _wanted_levels(
    meant: Sequence[_Meant], levels: Sequence[str], there: dict[str, Path], *, has_origin: bool
) -> list[str]:
    """Return the levels to compare: those asked for, else those that are there, else the recommended ones."""
    if levels:
        return [level.name for level in parse_levels(levels)]
    asked = [each.level for each in meant if each.level is not None]
    if asked:
        return [level.name for level in parse_levels(asked)]
    if len(there) >= 2 or not has_origin:
        return []  # what is there
    return [level.name for level in parse_levels([DEFAULT_LEVELS])]


def _files(
    meant: Sequence[_Meant], levels: Sequence[str], wanted: Sequence[str], there: dict[str, Path]
) -> list[Path]:
    """Return the files to measure: all that are named, of names and checkpoints only the levels asked for."""
    only_wanted = bool(levels) or any(each.level is not None for each in meant)
    named = [path for each in meant if each.stands_for_one or not only_wanted for path in each.files]
    chosen = [there[level] for level in wanted if level in there]
    return list({path.resolve(): path for path in (*named, *chosen)}.values())


def _reference(
    origin: _Meant | None, against: _Meant | None, files: Sequence[Path]
) -> tuple[str | None, str | None, Path | None]:
    """Return the level of the reference to make and what from, or the file that is the reference."""
    if against is not None:
        if against.checkpoint is None or against.level is not None:
            return None, None, _most_precise_by_name(against.files)
        there = _unquantized(against.files)
        return (None, None, there) if there else (_sixteen_bit(against.path), against.origin, None)
    there = _unquantized(files)
    if there is not None:
        return None, None, there
    if origin is not None and origin.checkpoint is not None:
        return _sixteen_bit(origin.path), origin.origin, None
    return None, None, None


def _unquantized(files: Iterable[Path]) -> Path | None:
    return next(
        (path for level in UNQUANTIZED_LEVELS for path in files if level_in_name(path) == level), None
    )


def _most_precise_by_name(files: Sequence[Path]) -> Path:
    if not files:
        raise NotFoundError("there is no file to compare with yet", hint="`--against` takes a GGUF file")
    return _unquantized(files) or max(files, key=size_on_disk)


def _sixteen_bit(checkpoint: Path) -> str:
    """Return the 16-bit type closest to a checkpoint's own."""
    dtypes = {tensor.native_dtype for tensor in open_checkpoint(checkpoint).tensors.values()}
    return "F16" if "F16" in dtypes and "BF16" not in dtypes else "BF16"
