"""Every model a command would accept, with what a list shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path

from localllm.library import provenance, usage
from localllm.library.facts import OTHER, Facts, directory_facts, gguf_facts
from localllm.library.finding import all_models
from localllm.library.found import Found, Kind

_NO_MODELS = ("imatrix", "mmproj")  # as `general.type` has it
_PATTERN_CHARACTERS = set("*?[")


class Source(StrEnum):
    """How a model came here."""

    PULLED = "pulled"
    CONVERTED = "converted"
    QUANTIZED = "quantized"
    MERGED = "merged"
    SHIPPED = "shipped"
    LOCAL = "local"  # put into the library by hand, or by a version that kept no records


_BY_COMMAND = {
    "convert": Source.CONVERTED,
    "merge": Source.MERGED,
    "pull": Source.PULLED,  # from a web address
    "quantize": Source.QUANTIZED,
}


@dataclass(frozen=True)
class Entry:
    """A model on this machine. `name` is what to type for it.

    Of a split model `path` is the first of `files`; of a checkpoint or an adapter it is the directory, and
    the size is that of its files together. `last_used` is a time in UTC (ISO 8601). `problem` says what is
    wrong with it, in one line.
    """

    name: str
    kind: Kind
    level: str | None
    path: Path
    files: tuple[Path, ...]
    size_bytes: int
    architecture: str
    context_length: int | None
    last_used: str | None
    source: Source
    problem: str | None


@dataclass(frozen=True)
class Listing:
    """What is on this machine; `incomplete` names models of which files are missing."""

    entries: tuple[Entry, ...]
    incomplete: tuple[str, ...]


def list_entries(pattern: str | None = None) -> Listing:
    """Return the models whose name matches: the library's by name, then the cache's by name.

    A pattern with `*`, `?` or `[` is for the whole name, any other for a part of it; case does not matter.
    """
    entries, incomplete = [], []
    for found in matching(pattern):
        if not _is_listed(found):
            incomplete.append(found.name)
            continue
        with suppress(FileNotFoundError):  # somebody removes it at this moment
            facts = _facts(found)
            if facts.type not in _NO_MODELS and not (facts.type == OTHER and found.repo):
                entries.append(_entry(found, facts))
    return Listing(tuple(entries), tuple(incomplete))


def matching(pattern: str | None = None) -> Iterator[Found]:
    """Yield the models here whose name matches; see `list_entries`."""
    for found in all_models():
        if pattern is None or _matches(found.name, pattern):
            yield found


def described(found: Found) -> Entry | None:
    """Return what a list shows of a model; None for a GGUF file that is none."""
    facts = _facts(found)
    return None if facts.type in _NO_MODELS else _entry(found, facts)


def _entry(found: Found, facts: Facts) -> Entry:
    used = usage.last_used(found.path)
    return Entry(
        name=found.name,
        kind=Kind.ADAPTER if facts.type == Kind.ADAPTER else found.kind,
        level=found.level,
        path=found.path,
        files=found.files,
        size_bytes=sum(path.stat().st_size for path in found.files),
        architecture=facts.architecture,
        context_length=facts.context_length,
        last_used=used.isoformat(timespec="seconds") if used else None,
        source=_source(found),
        problem=facts.problem,
    )


def _is_listed(found: Found) -> bool:
    """Tell whether commands accept it: a checkpoint in the library is listed with what it lacks."""
    return found.is_complete or (found.repo is None and found.kind is not Kind.MODEL)


def _facts(found: Found) -> Facts:
    if found.directory is not None:
        return directory_facts(found.directory, is_complete=found.is_complete)
    return gguf_facts(found.files[0])


def _source(found: Found) -> Source:
    if found.repo is not None:
        return Source.PULLED
    if found.is_shipped:
        return Source.SHIPPED
    known = provenance.read_fitting(found.path)
    return _BY_COMMAND.get(known.made.command, Source.LOCAL) if known and known.made else Source.LOCAL


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    return fnmatch(name, pattern) if _PATTERN_CHARACTERS & set(pattern) else pattern in name
