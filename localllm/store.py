"""The library on disk: where models live, what is there, and what a model reference means.

A model is a directory `models/<name>/` with files `<name>-<LEVEL>.gguf`; a checkpoint may lie in
the same directory. The root is `$LOCALLLM_HOME/models`, by default the platform's data directory.
The demo checkpoint that ships with the package is always there under the name `demo`.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from localllm.checkpoint import is_checkpoint
from localllm.errors import NotFoundError, UsageError
from localllm.gguf_file.format import FILE_TYPES
from localllm.gguf_file.split_names import model_files, starts_model, whole_stem
from localllm.hub.cached import find_cached
from localllm.hub.selection import RepoKind, Wish
from localllm.refs import ModelRef, RefKind

DEMO = "demo"
DEMO_PERSONA = "demo-persona"
PREFERRED_LEVEL = "Q4_K_M"
IMATRIX = "imatrix"  # stands in a file's name where models have their level
UNQUANTIZED_LEVELS = ("F32", "BF16", "F16")
_LEVEL_SUFFIX = re.compile(
    rf"[-._]({'|'.join(sorted(FILE_TYPES.values(), key=len, reverse=True))})$", re.IGNORECASE
)


@dataclass(frozen=True)
class StoredModel:
    """One GGUF model of the library; of a split one `path` is the first file, the size that of all."""

    name: str
    level: str
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class Resolved:
    """What a reference stands for: a GGUF file or a checkpoint directory, and whether we chose the level."""

    name: str
    path: Path
    level: str | None
    chosen: bool = False

    @property
    def is_checkpoint(self) -> bool:
        return self.path.is_dir()


def models_directory() -> Path:
    """Return the root of the library (it may not exist yet)."""
    home = os.environ.get("LOCALLLM_HOME")
    if home:
        return Path(home).expanduser() / "models"
    import platformdirs

    return Path(platformdirs.user_data_dir("localllm", appauthor=False)) / "models"


def shipped_checkpoint(name: str) -> Path | None:
    """Return a checkpoint or adapter that ships with localllm: package data, or the source checkout's."""
    package = Path(__file__).resolve().parent
    for directory in (package / "shipped" / name, package.parent / "models" / name):
        if directory.is_dir():
            return directory
    return None


def output_path(name: str, level: str) -> Path:
    """Return where the library keeps the file of `name` at `level`."""
    return models_directory() / name / f"{name}-{level}.gguf"


def stored_models() -> list[StoredModel]:
    """Return every GGUF file in the library, sorted by name, then by size."""
    root = models_directory()
    found = [
        StoredModel(directory.name, level_in_name(path) or "?", path, size_on_disk(path))
        for directory in (sorted(root.iterdir()) if root.is_dir() else ())
        if directory.is_dir()
        for path in directory.glob("*.gguf")
        if not path.name.startswith(".") and path.is_file() and _is_model(path)
    ]
    return sorted(found, key=lambda model: (model.name, model.size_bytes, model.path.name))


def _is_model(path: Path) -> bool:
    """Tell by its name whether a model begins in a file; importance matrices lie beside them."""
    return starts_model(path) and not path.stem.endswith(f"-{IMATRIX}")


def size_on_disk(first: Path) -> int:
    """Return the size in bytes of the model that begins in a file, all files of a split one together."""
    return sum(path.stat().st_size for path in model_files(first))


def level_in_name(path: Path) -> str | None:
    """Return the level at the end of a file name, in upper case: `x-q4_k_m.gguf` → `Q4_K_M`."""
    match = _LEVEL_SUFFIX.search(whole_stem(path))
    return match[1].upper() if match else None


def model_name(path: Path) -> str:
    """Return a file's name without level and suffix, made of safe characters."""
    stem = _LEVEL_SUFFIX.sub("", whole_stem(path)) if path.suffix == ".gguf" else path.name
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", stem).strip(".-")[:80] or "model"


def resolve(text: str) -> Resolved:
    """Find what `text` refers to, without the network.

    A path may name a GGUF file or a checkpoint directory; a name is looked up in the library.
    Without a level the library prefers Q4_K_M, then the file closest to it in size. Raise
    NotFoundError with the nearest names, UsageError for a level that is not there.
    """
    ref = ModelRef.parse(text)
    if ref.kind is RefKind.LIBRARY:
        found = _in_library(ref)
        if found:
            return found
    candidate = _path_of(ref, text)
    if candidate.exists():
        return _on_disk(candidate, ref.level)
    if ref.kind is RefKind.HUB:
        return _in_cache(ref, checkpoint_first=False)
    raise _unknown(text, ref)


def is_here(text: str) -> bool:
    """Tell whether `resolve` finds something, on disk, in the library or in the hub's cache."""
    try:
        resolve(text)
    except NotFoundError:
        return False
    return True


def resolve_source(text: str) -> Resolved:
    """Find what to make new files from: as `resolve`, but a bare name prefers what is not quantized yet.

    That is the checkpoint, then an F32, BF16 or F16 file of the library.
    """
    ref = ModelRef.parse(text)
    if ref.kind is RefKind.HUB and not _path_of(ref, text).exists():
        return _in_cache(ref, checkpoint_first=True)
    if ref.kind is RefKind.LIBRARY and ref.level is None:
        checkpoint = library_checkpoint(ref.target)
        if checkpoint:
            return Resolved(ref.target, checkpoint, None)
        files = {model.level: model for model in stored_models() if model.name == ref.target}
        for level in UNQUANTIZED_LEVELS:
            if level in files:
                return Resolved(ref.target, files[level].path, level)
    return resolve(text)


def resolve_checkpoint(text: str) -> Resolved:
    """Find what to convert: as `resolve_source`, but a checkpoint here comes before GGUF files elsewhere."""
    found = resolve_source(text)
    here = Path(text).expanduser()
    if not found.is_checkpoint and is_checkpoint(here):
        return Resolved(model_name(here.resolve()), here, None)
    return found


def existing_file(text: str) -> Path:
    """Return the GGUF file `text` stands for. Raise UsageError when it is only a checkpoint so far."""
    found = resolve(text)
    if is_checkpoint(found.path):
        raise UsageError(
            f"{text} is a checkpoint; there is no GGUF file of it yet",
            hint=f"make one with `localllm quantize {found.name} -q {found.level or PREFERRED_LEVEL}`",
        )
    if found.path.is_dir():
        raise NotFoundError(
            f"{found.path} holds neither GGUF files nor a checkpoint",
            hint="name a .gguf file, or a directory with config.json and model.safetensors",
        )
    return found.path


def _path_of(ref: ModelRef, text: str) -> Path:
    """Return the path that a reference would be, if there is one: `dir/sub` looks like a repository too."""
    return Path(ref.target if ref.kind is not RefKind.HUB else text.partition(":")[0]).expanduser()


def _in_cache(ref: ModelRef, *, checkpoint_first: bool) -> Resolved:
    """Find a reference to the hub among what was downloaded, its checkpoint first where that is wanted."""
    wish = Wish(ref.level, ref.file)
    wishes = (replace(wish, checkpoint=True), wish) if checkpoint_first and ref.file is None else (wish,)
    for each in wishes:
        found = find_cached(ref.target, ref.revision, each)
        if found is not None:
            is_file = found.choice.kind is RepoKind.GGUF
            level = found.choice.level if is_file else ref.level
            return Resolved(
                ref.target.replace("/", "--"),  # two owners may use one name
                found.path,
                level,
                chosen=is_file and bool(found.choice.reason),
            )
    raise NotFoundError(f"`{ref}` is not on this machine", hint=f"download it with `localllm pull {ref}`")


def _in_library(ref: ModelRef) -> Resolved | None:
    files = {model.level: model for model in stored_models() if model.name == ref.target}
    if ref.level in files:
        return Resolved(ref.target, files[ref.level].path, ref.level)
    checkpoint = library_checkpoint(ref.target)
    if checkpoint and (ref.level or not files):
        return Resolved(ref.target, checkpoint, ref.level)
    if files and ref.level:
        raise UsageError(
            f"`{ref.target}` is not in the library at {ref.level}",
            hint=f"it is there at {', '.join(files)}",
        )
    if not files:
        return None
    best = files.get(PREFERRED_LEVEL) or _nearest_to_preferred(list(files.values()))
    return Resolved(ref.target, best.path, best.level, chosen=True)


def _nearest_to_preferred(models: list[StoredModel]) -> StoredModel:
    """Return the smallest quantized file of a model that has no Q4_K_M, or its smallest file."""
    quantized = [model for model in models if model.level not in UNQUANTIZED_LEVELS]
    return min(quantized or models, key=lambda model: model.size_bytes)


def library_checkpoint(name: str) -> Path | None:
    """Return the checkpoint of that name in the library, or None."""
    directory = models_directory() / name
    if is_checkpoint(directory):
        return directory
    return shipped_checkpoint(DEMO) if name == DEMO else None


def _on_disk(path: Path, level: str | None) -> Resolved:
    if path.is_file():
        return Resolved(model_name(path), path, level_in_name(path))
    if is_checkpoint(path):
        return Resolved(model_name(path.resolve()), path, level)
    files = sorted(file for file in path.glob("*.gguf") if _is_model(file))
    matching = [file for file in files if level is None or level_in_name(file) == level]
    if len(matching) == 1:
        return Resolved(model_name(matching[0]), matching[0], level_in_name(matching[0]))
    if files:
        names = ", ".join(file.name for file in files[:4])
        raise UsageError(f"{path} holds several GGUF files", hint=f"name one of them: {names}")
    return Resolved(model_name(path.resolve()), path, level)


def _unknown(text: str, ref: ModelRef) -> NotFoundError:
    if ref.kind is RefKind.PATH:
        return NotFoundError(
            f"no such file or directory: {ref.target}", hint="`localllm list` shows what is in the library"
        )
    names = sorted({model.name for model in stored_models()} | {DEMO})
    near = difflib.get_close_matches(ref.target, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`localllm list` shows what there is; a path works too"
    return NotFoundError(f"no model called `{text}` in the library or here", hint=hint)
