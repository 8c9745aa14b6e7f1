"""How the files of a split model are called: `STEM-00001-of-00003.gguf` and so on, as llama.cpp wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm.errors import UsageError

_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_SUFFIX = ".gguf"


@dataclass(frozen=True)
class SplitName:
    """File `number` (from 1) of `count`."""

    stem: str
    number: int
    count: int


def split_name(path: Path) -> SplitName | None:
    """Return what a file name says of its place in a split model; None for a file that is whole."""
    match = _NUMBERED.fullmatch(path.stem) if path.suffix == _SUFFIX else None
    return None if match is None else SplitName(match["stem"], int(match["number"]), int(match["count"]))


def whole_stem(path: Path) -> str:
    """Return a file's name without suffix and without its place in a split model."""
    found = split_name(path)
    return path.stem if found is None else found.stem


def split_paths(output: Path, count: int) -> list[Path]:
    """Return where `count` files go: to `output` itself, or to `STEM-00001-of-COUNT.gguf` and so on."""
    if count == 1:
        return [output]
    stem = output.name.removesuffix(_SUFFIX)
    return [
        output.with_name(f"{stem}-{number:05d}-of-{count:05d}{_SUFFIX}") for number in range(1, count + 1)
    ]


def starts_model(path: Path) -> bool:
    """Tell whether a model begins in this file: every file but the later ones of a split."""
    found = split_name(path)
    return found is None or found.number == 1


def model_files(first: Path) -> list[Path]:
    """Return the files of the model that begins in `first`, as far as they are there."""
    found = split_name(first)
    if found is None:
        return [first]
    return [path for path in split_paths(first.with_name(found.stem), found.count) if path.is_file()]


def refuse_other_split(paths: Sequence[Path]) -> None:
    """Raise UsageError when the same model lies beside `paths` split into another number of files."""
    expected = split_name(paths[0])
    if expected is None or len(paths) == 1 or not paths[0].parent.is_dir():
        return
    for other in sorted(paths[0].parent.iterdir()):
        found = split_name(other)
        if found and found.stem == expected.stem and found.count != expected.count:
            raise UsageError(
                f"{other} belongs to the same model in {found.count} files instead of {len(paths)}",
                hint="remove those files first, or choose another name with `-o`",
            )
