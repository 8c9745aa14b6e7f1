"""GGUF files at web addresses outside the hub: they go into the library."""

from __future__ import annotations

import re
from pathlib import Path

from localllm.events import Emit, Notice, ignore
from localllm.gguf_file import read_header
from localllm.gguf_file.split_names import split_name
from localllm.hub.selection import RepoKind
from localllm.hub.snapshot import SnapshotFile
from localllm.hub.web_file import fetch_web_file, web_file_name
from localllm.library.provenance import Made, record
from localllm.store import level_in_name, model_name, models_directory
from localllm.verbs.pull import PlannedDownload, PullPlan, PullResult

_PLACE = re.compile(r"-\d{5}-of-(\d{5})(?=\.gguf)", re.IGNORECASE)


def pull_url(url: str, *, refresh: bool, emit: Emit = ignore) -> PullResult:
    """Have the GGUF file at `url`, with the other files of a split one, in the library."""
    files = []
    for address, target in _parts(url):
        came, resumed = 0, 0
        if refresh or not target.is_file():
            came, resumed = _fetch(address, target, emit)
        files.append(SnapshotFile(target.name, target, target.stat().st_size, None, came, resumed))
    first = files[0].place
    if any(file.downloaded_bytes for file in files):
        record([file.place for file in files], Made("pull", url.partition("?")[0]), emit=emit)
    return PullResult(
        reference=_reference(first),
        kind=RepoKind.GGUF,
        level=level_in_name(first),
        revision=None,
        path=first,
        files=tuple(files),
        size_bytes=sum(file.size_bytes for file in files),
        downloaded_bytes=sum(file.downloaded_bytes for file in files),
    )


def plan_url(url: str) -> PullPlan:
    """Ask the server what `pull_url` would download."""
    from localllm.hub.remote_file import find_file

    files = []
    for address, target in _parts(url):
        size = target.stat().st_size if target.is_file() else find_file(address)[0].size_bytes
        files.append(PlannedDownload(target.name, size, target.is_file()))
    first = _parts(url)[0][1]
    return PullPlan(
        reference=_reference(first),
        kind=RepoKind.GGUF,
        level=level_in_name(first),
        revision=None,
        files=tuple(files),
        size_bytes=sum(file.size_bytes for file in files),
        download_bytes=sum(file.size_bytes for file in files if not file.is_here),
        others=(),
    )


def _parts(url: str) -> list[tuple[str, Path]]:
    """Return the addresses of all files of a model, and where each goes."""
    name = web_file_name(url)
    folder = models_directory() / model_name(Path(name))
    place = split_name(Path(name))
    if place is None or place.number != 1 or not _PLACE.search(url):
        return [(url, folder / name)]
    addresses = [_PLACE.sub(rf"-{number:05d}-of-\1", url) for number in range(1, place.count + 1)]
    return [(address, folder / web_file_name(address)) for address in addresses]


def _fetch(url: str, target: Path, emit: Emit) -> tuple[int, int]:
    from localllm.publication import translated_errors

    with translated_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    emit(Notice(f"there is no checksum for {target.name}: its length and its header are checked"))
    return fetch_web_file(url, target, lambda path: _require_gguf(path, url), emit=emit)


def _require_gguf(path: Path, url: str) -> None:
    from localllm.errors import InvalidGGUFError

    try:
        read_header(path)
    except InvalidGGUFError as error:
        raise InvalidGGUFError(error.message.replace(str(path), url), hint=error.hint) from None


def _reference(first: Path) -> str:
    level = level_in_name(first)
    return first.parent.name + (f":{level}" if level else "")
