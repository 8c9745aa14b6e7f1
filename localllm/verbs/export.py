"""`export_ollama`, `export_lmstudio` and `export_directory`: models where other programs look for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path

from localllm.errors import InvalidGGUFError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.export import placement
from localllm.export.modelfile import MARK, modelfile
from localllm.export.placement import PlacedFile
from localllm.export.places import lmstudio_models
from localllm.gguf_file.split_names import model_files, split_name
from localllm.personas import system_prompt
from localllm.publication import publishing, translated_errors
from localllm.refs import Model, ModelRef, RefKind
from localllm.store import Resolved, models_directory, resolve
from localllm.verbs.pull import have

PUBLISHER = "localllm"
_MODELFILE = "Modelfile"
_NAMING = ("FROM ", "ADAPTER ")
_SAFE_NAME = re.compile(r"\w[\w.+-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class ExportResult:
    """Where the files of a model are now, the first one first; with `is_plan`, where they would be."""

    model: str
    files: tuple[PlacedFile, ...]
    is_plan: bool = False


@dataclass(frozen=True)
class OllamaResult:
    """A directory for `ollama create`. `problem` says why there is no template, `notes` how it differs.

    `checked` is the number of conversations on which the template was compared with the model's own.
    """

    model: str
    name: str
    modelfile: Path
    text: str
    files: tuple[PlacedFile, ...]
    has_template: bool
    checked: int
    problem: str | None
    notes: tuple[str, ...]
    is_plan: bool = False


def export_ollama(
    model: Model,
    *,
    output: Model | None = None,
    system: str | None = None,
    persona: str | None = None,
    adapters: Sequence[Model] = (),
    dry_run: bool = False,
    emit: Emit = ignore,
) -> OllamaResult:
    """Make a directory with a Modelfile and the model's files, which `ollama create` takes.

    `adapters` are GGUF files or PEFT directories to be used beside the model. The directory is
    `exports/ollama/NAME-LEVEL` beside the library unless `output` names one. The chat template is translated
    and the translation compared with it on ten conversations; one that cannot be translated is left out.
    Raise UsageError for a directory that holds something else, NotFoundError, StorageError and what loading
    raises.
    """
    from localllm.export.ollama import ollama_content  # with llama.cpp

    prompt = system_prompt(system, persona)
    found, files = _files_of(model, emit)
    beside = _adapter_files(adapters, found, emit)
    name = "-".join(filter(None, (found.name, found.level)))
    folder = models_directory().parent / "exports" / "ollama" / name if output is None else _folder(output)
    target = folder / _MODELFILE
    ours = _files_named_in(target)
    content = ollama_content(
        files[0],
        [path.name for path in files],
        name=name,
        system=prompt,
        adapters=[path.name for path in beside],
    )
    made = modelfile(content.modelfile)
    for what in made.left_out:
        emit(Notice(f"a Modelfile cannot hold {what}: left out", topic="left-out"))
    act = placement.plan if dry_run else placement.place
    placed = act([*files, *beside], folder, ours)
    if not dry_run:
        with publishing(target) as part:
            part.write_text(made.text, encoding="utf-8", newline="\n")
    if len(files) > 1:
        emit(Notice("not every version of Ollama takes a model in several files", topic="ollama-split"))
    translation = content.translation
    return OllamaResult(
        model=fspath(model),
        name=name.lower(),
        modelfile=target,
        text=made.text,
        files=tuple(placed),
        has_template=translation.source is not None,
        checked=translation.checked,
        problem=translation.problem,
        notes=translation.notes,
        is_plan=dry_run,
    )


def export_lmstudio(
    model: Model,
    *,
    models_dir: Model | None = None,
    publisher: str | None = None,
    dry_run: bool = False,
    emit: Emit = ignore,
) -> ExportResult:
    """Put a model where LM Studio finds it: `PUBLISHER/NAME/FILE.gguf` in its folder of models.

    The publisher is that of the hub's repository, else `localllm`. Raise NotFoundError where there is no LM
    Studio and no `models_dir`, UsageError, StorageError.
    """
    root = lmstudio_models() if models_dir is None else _folder(models_dir)
    found, files = _files_of(model, emit)
    owner, name = _publisher_and_name(model, found)
    owner = publisher or owner
    if not _SAFE_NAME.fullmatch(owner):
        raise UsageError(f"`{owner}` cannot be a publisher's name", hint="letters, digits, `-`, `_` and `.`")
    return _exported(model, files, root / owner / name, dry_run)


def export_directory(
    model: Model, directory: Model, *, dry_run: bool = False, emit: Emit = ignore
) -> ExportResult:
    """Put the files of a model into a folder, as text-generation-webui and KoboldCpp look for them.

    Raise UsageError for other files of these names there, NotFoundError, StorageError.
    """
    _, files = _files_of(model, emit)
    return _exported(model, files, _folder(directory), dry_run)


def _exported(model: Model, files: Sequence[Path], folder: Path, dry_run: bool) -> ExportResult:
    act = placement.plan if dry_run else placement.place
    return ExportResult(fspath(model), tuple(act(files, folder)), dry_run)


def _files_of(model: Model, emit: Emit) -> tuple[Resolved, list[Path]]:
    """Return what a model is and its files; a checkpoint is quantized into the library first."""
    have(model, emit=emit)
    found = resolve(fspath(model))
    if found.chosen:
        emit(Notice(f"using {found.name}:{found.level}; write another level behind the colon"))
    if found.is_checkpoint:
        from localllm import pipeline

        path = pipeline.runnable_file(found, emit=emit)
        found = Resolved(found.name, path, resolve(fspath(path)).level)
    files = model_files(found.path)
    part = split_name(found.path)
    if part is not None and len(files) != part.count:
        raise InvalidGGUFError(
            f"{found.path} is one of {part.count} files, and {part.count - len(files)} are missing",
            hint="`localllm pull` fetches them again",
        )
    return found, files


def _adapter_files(adapters: Sequence[Model], found: Resolved, emit: Emit) -> list[Path]:
    if not adapters:
        return []
    from localllm.engine.adapter_files import require_adapter
    from localllm.gguf_file import read_header
    from localllm.verbs.adapters import runnable_adapters  # with the converter

    scaled = [(Path(adapter), 1.0) for adapter in adapters]
    files = [path for path, _ in runnable_adapters(scaled, found, emit=emit)]
    for path in files:
        require_adapter(path, read_header(found.path))
    emit(
        Notice(
            "not every version of Ollama takes adapters",
            hint="one that refuses them takes a model made by `localllm merge`",
            topic="ollama-adapters",
        )
    )
    return files


def _files_named_in(target: Path) -> list[str]:
    """Return the files of the Modelfile that is there. Raise UsageError when we did not write it."""
    with translated_errors(target):
        if not target.exists():
            return []
        text = target.read_bytes().decode("utf-8", "replace") if target.is_file() else ""
    if not text.startswith(MARK):
        raise UsageError(f"{target} is there already, and not ours", hint="choose another place with `-o`")
    return [Path(line.partition(" ")[2]).name for line in text.splitlines() if line.startswith(_NAMING)]


def _publisher_and_name(model: Model, found: Resolved) -> tuple[str, str]:
    ref = ModelRef.parse(fspath(model))
    if ref.kind is RefKind.HUB and not Path(fspath(model)).expanduser().exists():
        owner, _, name = ref.target.partition("/")
        return owner, name
    return PUBLISHER, f"{found.name}-GGUF"


def _folder(path: Model) -> Path:
    return Path(path).expanduser().absolute()
