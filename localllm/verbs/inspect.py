"""`inspect`: what a model file, a checkpoint, an adapter or an importance matrix says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from localllm.errors import NotFoundError, UsageError
from localllm.events import Emit, ignore
from localllm.inspection import ModelDescription, Subject, open_piped_subject, open_subject

if TYPE_CHECKING:
    from localllm.inspection.difference import Difference
    from localllm.refs import Model

PIPE = "-"


def inspect(model: Model, *, emit: Emit = ignore) -> ModelDescription:
    """Describe a GGUF or safetensors file, a checkpoint, an adapter or an importance matrix, from headers.

    `model` may also be a name in the library, of the hub or a web address (then only headers are downloaded),
    or `-` for a GGUF file that comes through standard input.
    """
    with opened(model, emit) as subject:
        return subject.describe(emit)


@contextmanager
def opened(model: Model, emit: Emit = ignore) -> Iterator[Subject]:
    """Yield what `model` refers to, opened to be inspected; of what is not on this machine only headers."""
    text = fspath(model)
    path = Path(text).expanduser()
    if text == PIPE:
        yield open_piped_subject()
    elif path.is_file():  # nothing else has to be loaded
        yield open_subject(path)
    else:
        with _referred_to(text, emit) as subject:
            yield subject


@contextmanager
def _referred_to(text: str, emit: Emit) -> Iterator[Subject]:
    """Yield a directory, a name in the library, or what is on the hub or the web."""
    from localllm.refs import ModelRef, RefKind
    from localllm.store import is_here

    ref = ModelRef.parse(text)
    if ref.kind is RefKind.URL or (ref.kind is RefKind.HUB and not is_here(text)):
        from localllm.verbs.inspect_remote import remote_subject

        with remote_subject(ref, emit) as subject:
            yield subject
    else:
        yield open_subject(_place_of(text))


def difference(model: Model, other: Model, *, emit: Emit = ignore) -> Difference:
    """Compare two models by their headers, checkpoints as the files they would be converted to."""
    from localllm.inspection.difference import compare_headers

    if fspath(model) == fspath(other) == PIPE:
        raise UsageError("only one of two models can come through standard input", hint="name a file, too")
    with opened(model, emit) as old, opened(other, emit) as new:
        return compare_headers(old.headers(), new.headers())


def _place_of(text: str) -> Path:
    """Return the file or directory `text` refers to. Raise NotFoundError or UsageError."""
    from localllm.store import existing_file, resolve

    try:
        found = resolve(text)
    except NotFoundError:
        from localllm.verbs.references import adapter_at

        adapter = adapter_at(text)
        if adapter is None:
            raise
        return adapter
    return existing_file(text) if found.is_checkpoint and found.level else found.path
