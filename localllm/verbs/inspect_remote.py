"""Models on the hub or at a web address, inspected without downloading them: only headers and texts come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.errors import LocalLLMError
from localllm.events import Emit, ignore
from localllm.gguf_file import read_header
from localllm.hub.listing import list_repo
from localllm.hub.selection import RepoKind, Wish, choose
from localllm.inspection import (
    GGUFSubject,
    HeaderFile,
    ModelDescription,
    Subject,
    TensorDescription,
    join_headers,
    open_subject,
)
from localllm.refs import ModelRef, RefKind
from localllm.verbs.pull import say_what_was_chosen

if TYPE_CHECKING:
    from localllm.hub.remote_file import RemoteFile
    from localllm.inspection.header_set import HeaderSet
    from localllm.inspection.rendering import RenderedTemplate

_AT_ONCE = 8


@contextmanager
def remote_subject(ref: ModelRef, emit: Emit = ignore) -> Iterator[Subject]:
    """Yield what `ref`, of the hub or the web, refers to. Raise NotFoundError, HubError and what `pull` does.

    Of a GGUF model only the headers are downloaded; of a checkpoint the headers of its weights, and its small
    files, which go into the hub's cache.
    """
    if ref.kind is RefKind.URL:
        from localllm.hub.remote_file import find_file

        yield _gguf([(ref.target, find_file(ref.target)[0])])
        return
    listing = list_repo(ref.target, ref.revision)
    choice = choose(ref.target, listing.files, Wish(ref.level, ref.file))
    say_what_was_chosen(ref, choice, emit)
    if choice.kind is RepoKind.GGUF:
        from localllm.hub.remote_file import hub_file

        repo, commit = ref.target, listing.commit
        files = [
            (f"{repo}/{file.path}", hub_file(repo, commit, file.path, file.size_bytes))
            for file in choice.files
        ]
        yield _gguf(files)
        return
    from localllm.outline import fetch_small_files, outline

    choice = fetch_small_files(listing, choice, emit=emit)
    with outline(listing, choice) as directory:
        yield _Outlined(directory, ref.target)


def _gguf(files: Sequence[tuple[str, RemoteFile]]) -> Subject:
    from localllm.hub.remote_source import RemoteSource

    def read(named: tuple[str, RemoteFile]) -> HeaderFile:
        label, remote = named
        return HeaderFile(label, read_header(RemoteSource(remote, label)))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        headers = list(threads.map(read, files))
    return GGUFSubject(join_headers(headers[0].label, headers, are_named=len(headers) > 1))


class _Outlined(Subject):
    """A directory of headers, which goes by the name of the repository it is of."""

    def __init__(self, directory: Path, repo: str) -> None:
        self.label = repo
        self._directory = str(directory)
        with self._renaming():
            self._subject = open_subject(directory)

    def describe(self, emit: Emit = ignore) -> ModelDescription:
        with self._renaming():
            description: ModelDescription = self._renamed(self._subject.describe(emit))
            return description

    def tensors(self) -> list[TensorDescription]:
        with self._renaming():
            return [self._renamed(tensor) for tensor in self._subject.tensors()]

    def metadata(self, key: str | None = None) -> dict[str, Any]:
        with self._renaming():
            return self._subject.metadata(key)

    def template(self) -> RenderedTemplate:
        with self._renaming():
            return self._subject.template()

    def headers(self) -> HeaderSet:
        with self._renaming():
            return self._subject.headers()

    @contextmanager
    def _renaming(self) -> Iterator[None]:
        try:
            yield
        except LocalLLMError as error:
            error.message = self._renamed(error.message)
            raise

    def _renamed(self, value: Any) -> Any:
        """Return a description with the name of the repository in place of the directory's."""
        if isinstance(value, str):
            return value.replace(self._directory, self.label)
        if isinstance(value, tuple):
            return tuple(map(self._renamed, value))
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: self._renamed(getattr(value, f.name)) for f in fields(value)})
        return value
