"""Which files of a repository a reference means. Pure: it looks at names and sizes only.

A repository of GGUF files holds quantizations, each one file or several split ones; one of safetensors
holds a checkpoint or an adapter. Pickled weights are never chosen.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localllm.checkpoint.directory import TOKENIZER_FILES
from localllm.checkpoint.weights import WEIGHTS_INDEX
from localllm.errors import NotFoundError, UnsupportedModelError, UsageError
from localllm.gguf_file.split_names import split_name
from localllm.hub.cache import RepoFile

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_CONFIGS = ("config.json", "generation_config.json", WEIGHTS_INDEX)
_CARDS = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_PROJECTOR = "mmproj"
_TAG = re.compile(
    r"(?<![A-Za-z0-9])"
    r"((?:UD-)?(?:I?Q\d+_[A-Z0-9]+(?:_[A-Z0-9]+)*|TQ\d_\d|B?F16|FP16|F32|FP32|MXFP4(?:_MOE)?|NVFP4))"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_SAME = {"FP16": "F16", "FP32": "F32"}
# without a wish: the usual choice, then what is nearest to it in size, then what is left
_PREFERRED = (
    *(
        "Q4_K_M",
        "Q4_K_S",
        "Q4_K_L",
        "Q4_K_XL",
        "Q4_K",
        "Q4_0",
        "IQ4_NL",
        "IQ4_XS",
        "Q4_1",
        "MXFP4",
        "MXFP4_MOE",
    ),
    *("Q5_K_M", "Q5_K_S", "Q5_K_L", "Q5_K_XL", "Q5_K", "Q5_0", "Q5_1", "Q6_K", "Q6_K_L", "Q6_K_XL"),
    *("Q8_0", "Q8_K_XL", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "F16", "BF16", "F32"),
)


class RepoKind(StrEnum):
    """What a reference to a repository turns into."""

    GGUF = "gguf"
    CHECKPOINT = "checkpoint"
    ADAPTER = "adapter"


@dataclass(frozen=True)
class GGUFSet:
    """One quantization: its files in order; `level` as the name says it, "" when it says none."""

    level: str
    files: tuple[RepoFile, ...]
    expected_files: int

    @property
    def first(self) -> RepoFile:
        return self.files[0]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def is_complete(self) -> bool:
        return len(self.files) == self.expected_files


@dataclass(frozen=True)
class Choice:
    """What to fetch, in this order. `reason` says why this level was taken, "" when it was asked for."""

    kind: RepoKind
    files: tuple[RepoFile, ...]
    level: str | None = None
    reason: str = ""
    others: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def first(self) -> RepoFile:
        return self.files[0]


@dataclass(frozen=True)
class Wish:
    """What a user asked for: a level, a file, the projector as well, a checkpoint even beside GGUF files.

    `prefers_checkpoint` takes a checkpoint where there is one, and GGUF files where not.
    """

    level: str | None = None
    file: str | None = None
    projector: bool = False
    checkpoint: bool = False
    prefers_checkpoint: bool = False


def choose(label: str, files: Sequence[RepoFile], wish: Wish) -> Choice:
    """Return what `wish` means among the files of the repository `label`.

    Raise NotFoundError, UsageError or UnsupportedModelError, with what there is.
    """
    if wish.file is not None:
        return _named(label, files, wish)
    sets = gguf_sets(files)
    takes_weights = wish.checkpoint or (wish.prefers_checkpoint and _has_checkpoint(files))
    if sets and not takes_weights:
        return _quantization(label, files, sets, wish)
    return _weights(label, files, wish)


def gguf_sets(files: Iterable[RepoFile]) -> list[GGUFSet]:
    """Return the quantizations among `files`, by name; projectors and importance matrices are none."""
    groups: dict[str, list[tuple[int, int, RepoFile]]] = {}
    for file in sorted(files, key=lambda file: file.path):
        if not file.path.lower().endswith(".gguf") or _is_projector(file) or "imatrix" in file.name.lower():
            continue
        place = split_name(Path(file.path))
        folder = file.path.rpartition("/")[0]
        key = file.path if place is None else f"{folder}/{place.stem}/{place.count}"
        number, count = (place.number, place.count) if place else (1, 1)
        groups.setdefault(key, []).append((number, count, file))
    return [_set(sorted(group, key=lambda part: part[0])) for group in groups.values()]


def level_of(path: str) -> str:
    """Return the level a name tells, in upper case: of the file, else of its folders; "" for none."""
    for part in reversed(path.split("/")):
        found = _TAG.findall(part)
        if found:
            tag = str(found[-1]).upper()
            return _SAME.get(tag, tag)
    return ""


def checkpoint_files(files: Iterable[RepoFile], shards: Collection[str] | None = None) -> list[RepoFile]:
    """Return what a conversion needs: configuration, tokenizer, model card, then weights.

    `shards` are the weight files the index names, when it has been read.
    """
    here = {file.path: file for file in files if "/" not in file.path}
    small = [here[name] for name in (*_CONFIGS, *TOKENIZER_FILES, *_CARDS) if name in here]
    names = sorted(name for name in here if re.fullmatch(r"model.*\.safetensors", name))
    if shards is not None:
        names = sorted(set(shards) & set(here))
    elif WEIGHTS_INDEX in here:
        names = [name for name in names if re.search(r"-\d{5}-of-\d{5}\.safetensors$", name)]
    return [*small, *(here[name] for name in names)]


def is_weights(file: RepoFile) -> bool:
    return file.path.endswith((".safetensors", ".gguf"))


def _set(parts: list[tuple[int, int, RepoFile]]) -> GGUFSet:
    files = tuple(file for _, _, file in parts)
    return GGUFSet(level_of(files[0].path), files, parts[0][1])


def _is_projector(file: RepoFile) -> bool:
    return _PROJECTOR in file.name.lower()


def _named(label: str, files: Sequence[RepoFile], wish: Wish) -> Choice:
    """Choose a file by name, with the other parts when it is one of a split model."""
    for found in gguf_sets(files):
        if any(file.path == wish.file for file in found.files):
            _require_complete(label, found)
            return Choice(RepoKind.GGUF, found.files, found.level or None)
    alone = next((file for file in files if file.path == wish.file and file.path.endswith(".gguf")), None)
    if alone is not None:  # a projector or an importance matrix
        return Choice(RepoKind.GGUF, (alone,), level_of(alone.path) or None)
    names = [file.path for file in files if file.path.lower().endswith(".gguf")]
    near = difflib.get_close_matches(wish.file or "", names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it has {_some(names) or 'no GGUF files'}"
    raise NotFoundError(f"{label} has no file `{wish.file}`", hint=hint)


def _quantization(label: str, files: Sequence[RepoFile], sets: list[GGUFSet], wish: Wish) -> Choice:
    if wish.level is None:
        found, reason = _preferred(sets)
    else:
        found, reason = _at_level(label, sets, wish.level), ""
    _require_complete(label, found)
    others = tuple(dict.fromkeys(other.level or other.first.path for other in sets if other is not found))
    extra: tuple[RepoFile, ...] = ()
    if wish.projector:
        extra = (_projector(label, files),)
    return Choice(RepoKind.GGUF, (*found.files, *extra), found.level or None, reason, others)


def _preferred(sets: list[GGUFSet]) -> tuple[GGUFSet, str]:
    complete = [found for found in sets if found.is_complete] or sets
    if len(complete) == 1:
        return complete[0], "there is no other"
    for level in _PREFERRED:
        matching = [found for found in complete if _bare(found.level) == level]
        if matching:
            usual = level == _PREFERRED[0]
            why = "the usual choice" if usual else f"there is no {_PREFERRED[0]}, this comes nearest"
            return min(matching, key=lambda found: (found.level != level, found.size_bytes)), why
    return min(complete, key=lambda found: found.size_bytes), "the smallest"


def _at_level(label: str, sets: list[GGUFSet], level: str) -> GGUFSet:
    wanted = _SAME.get(level, level)
    matching = [found for found in sets if found.level == wanted]
    matching = matching or [found for found in sets if _bare(found.level) == _bare(wanted)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = _some([found.first.path for found in matching])
        raise UsageError(
            f"{label} has {len(matching)} models at {level}: {names}",
            hint=f"name one of them: `{label}/{matching[0].first.path}`",
        )
    levels = list(dict.fromkeys(found.level for found in sets if found.level))
    near = difflib.get_close_matches(wanted, levels, n=1)
    known = f"it has {', '.join(levels)}" if levels else f"it has {_some([s.first.path for s in sets])}"
    raise NotFoundError(
        f"{label} has nothing at {level}", hint=f"did you mean {near[0]}? {known}" if near else known
    )


def _projector(label: str, files: Sequence[RepoFile]) -> RepoFile:
    """Return the vision projector of a repository, the F16 one where there are several."""
    found = [file for file in files if _is_projector(file) and file.path.lower().endswith(".gguf")]
    if not found:
        raise NotFoundError(f"{label} has no vision projector (mmproj)")
    return min(found, key=lambda file: (level_of(file.path) != "F16", file.size_bytes))


def _weights(label: str, files: Sequence[RepoFile], wish: Wish) -> Choice:
    names = {file.path for file in files}
    if wish.projector:
        raise UsageError("`--projector` is for repositories of GGUF files")
    if ADAPTER_CONFIG in names and ADAPTER_WEIGHTS in names:
        wanted = (ADAPTER_CONFIG, *TOKENIZER_FILES, *_CARDS, ADAPTER_WEIGHTS)
        by_name = {file.path: file for file in files}
        return Choice(RepoKind.ADAPTER, tuple(by_name[name] for name in wanted if name in names))
    if _has_checkpoint(files):
        return Choice(RepoKind.CHECKPOINT, tuple(checkpoint_files(files)), wish.level)
    pickled = sorted(name for name in names if name.endswith(_PICKLED))
    if pickled:
        raise UnsupportedModelError(
            f"{label} has only pickled weights ({pickled[0]}), which can run code when opened",
            hint="look for a repository with safetensors or GGUF files of the same model",
        )
    if not files:
        raise NotFoundError(f"{label} has no files")
    raise NotFoundError(
        f"{label} holds no language model: neither GGUF files nor a config.json with safetensors",
        hint=f"it has {_some(sorted(names))}",
    )


def _has_checkpoint(files: Sequence[RepoFile]) -> bool:
    found = checkpoint_files(files)
    return any(file.path == "config.json" for file in found) and any(map(is_weights, found))


def _require_complete(label: str, found: GGUFSet) -> None:
    if not found.is_complete:
        missing = found.expected_files - len(found.files)
        raise NotFoundError(
            f"{label}: {missing} of the {found.expected_files} files of {found.first.path} are missing",
            hint="tell its authors, or take another level",
        )


def _bare(level: str) -> str:
    return level.removeprefix("UD-")


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
