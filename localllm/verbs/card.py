"""`card`: a model card with the last comparison in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from os import fspath
from pathlib import Path
from typing import Any

from localllm.checkpoint import is_checkpoint, is_hub_name, model_card
from localllm.comparison.measurement import ComparisonResult
from localllm.errors import CardError, LocalLLMError, NotFoundError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file import read_header
from localllm.hub.cache import cache_directory
from localllm.inspection.identity import Identity, identity_of
from localllm.library import provenance
from localllm.publication import publishing, translated_errors
from localllm.refs import Model
from localllm.report.card import IMAGE, Origins, updated_card
from localllm.report.plots import to_png
from localllm.store import model_name
from localllm.verbs.compare import last

QUANTIZED_BY = "localllm"
_README = "README.md"
_MOST_BYTES = 16 * 1024 * 1024
_LONGEST = 200  # characters of a licence, a language, a name


class Change(StrEnum):
    """What became of a card."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class CardResult:
    """A model card and the plots beside it, None where there are none; `run` is the comparison's id."""

    path: Path
    image: Path | None
    change: Change
    run: str


def card(
    model: Model, *, output: Model | None = None, quantized_by: str = QUANTIZED_BY, emit: Emit = ignore
) -> CardResult:
    """Write the last comparison of a model into its README.md, or update it there.

    `output` is the file, or the directory for a README.md; by default it lies beside the measured files. What
    the card says already stays, apart from the section between localllm's marks. Raise NotFoundError where
    nothing was compared yet, CardError for a card that cannot be read, UsageError, StorageError.
    """
    result = last(model)
    if result is None:
        raise NotFoundError(
            f"`{fspath(model)}` has not been compared yet",
            hint=f"`localllm compare {fspath(model)}` measures it",
        )
    path = _place(result, output)
    existing = _read(path)
    png = to_png(result)
    if png is None:
        emit(Notice("the card gets no plots: the last comparison did not measure quality"))
    try:
        text = updated_card(
            existing,
            result,
            name=_name(result),
            origins=_origins(result, quantized_by),
            has_image=png is not None,
        )
    except ValueError as error:
        raise CardError(
            f"{path} cannot be updated: {error}", hint="mend it, or write elsewhere with `-o`"
        ) from error
    image = None if png is None else path.with_name(IMAGE)
    is_new_image = image is not None and png is not None and _publish(image, png)
    is_new_text = _publish(path, text.encode("utf-8"))
    change = Change.UPDATED if is_new_image or is_new_text else Change.UNCHANGED
    return CardResult(path, image, Change.CREATED if existing is None else change, result.id)


def _place(result: ComparisonResult, output: Model | None) -> Path:
    """Return the card's file. Raise UsageError where only the user can tell."""
    if output is not None:
        path = Path(output).expanduser()
        names_file = path.suffix.lower() == ".md" and not path.is_dir()
        return path if names_file else path / _README
    folders = {path.parent for path in _measured(result)}
    if len(folders) != 1:
        what = "are in several folders" if folders else "are not there any more"
        raise UsageError(f"the files that were compared {what}", hint="say where to write with `-o DIR`")
    (folder,) = folders
    if cache_directory().resolve() in folder.resolve().parents:
        raise UsageError(
            "the files that were compared lie in the cache of the hub, which is not to be written to",
            hint="say where to write with `-o DIR`",
        )
    return folder / _README


def _measured(result: ComparisonResult) -> list[Path]:
    """Return the files that were compared as far as they are there, but for the reference."""
    rows = [row for row in result.measurements if Path(row.path).is_file()]
    compared = [row for row in rows if not row.is_reference]
    return [Path(row.path) for row in compared or rows]


def _read(path: Path) -> str | None:
    """Return a card as it is, with its line ends; None when there is none. Raise CardError, StorageError."""
    with translated_errors(path):
        if not path.exists():
            return None
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise CardError(f"{path} is no model card", hint="write elsewhere with `-o`")
        content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise CardError(f"{path} is no UTF-8 text", hint="write elsewhere with `-o`") from None


def _publish(path: Path, content: bytes) -> bool:
    """Write a file unless it has this content already; tell whether it was written."""
    with translated_errors(path):
        if path.is_file() and path.read_bytes() == content:
            return False
    with publishing(path) as part:
        part.write_bytes(content)
    return True


def _name(result: ComparisonResult) -> str:
    """Return what to call the model: without the level and the folders that a path may have."""
    files = _measured(result)
    return model_name(files[0]) if files else model_name(Path(result.model.rstrip("/" + os.sep)))


def _origins(result: ComparisonResult, quantized_by: str) -> Origins:
    """Return what the record, the source checkpoint's card and the file's own metadata say, in this order."""
    files = _measured(result)
    source = Path(result.source) if result.source else None
    stated = _card_of(source)
    header = _identity(files)
    repo = _repository(source, files)
    bases = (repo,) if repo else _names(stated.get("base_model")) or header.base_models
    licence = _text(stated.get("license"))
    own = licence == "" or licence == header.license  # the file's other words belong to the same licence
    return Origins(
        base_models=tuple(name for name in bases if is_hub_name(name)),
        is_quantization=repo is not None,
        quantized_by=quantized_by,
        license=licence or _text(header.license),
        license_name=_text(stated.get("license_name")) or (_text(header.license_name) if own else ""),
        license_link=_text(stated.get("license_link")) or (_text(header.license_link) if own else ""),
        languages=_names(stated.get("language")) or tuple(filter(None, map(_text, header.languages))),
        pipeline_tag=_text(stated.get("pipeline_tag")),
    )


def _card_of(source: Path | None) -> Mapping[str, Any]:
    """Return the front matter of the checkpoint's own card."""
    return model_card(source) if source is not None and is_checkpoint(source) else {}


def _identity(files: list[Path]) -> Identity:
    for path in files:
        try:
            return identity_of(read_header(path))
        except LocalLLMError:
            continue
    return Identity()


def _repository(source: Path | None, files: list[Path]) -> str | None:
    """Return the hub repository of the checkpoint that the files were made from, if it is one."""
    if source is not None and is_checkpoint(source):
        origin = provenance.origin_of(source.absolute())
        if origin:
            return origin.repo
    for path in files:
        known = provenance.read(path)
        if known and known.made and known.made.origin and not known.made.adapters:
            return known.made.origin.repo
    return None


def _names(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(filter(None, map(_text, values)))


def _text(value: Any) -> str:
    """Return a stranger's short text; "" for anything else."""
    is_fit = isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST
    return str(value).strip() if is_fit else ""
