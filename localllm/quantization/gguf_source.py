"""A GGUF file, or several of a split model, as what is quantized."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.conversion.workspace import Workspace
from localllm.errors import InvalidGGUFError, NotFoundError, QuantizationError
from localllm.gguf_file import GGUFHeader, TensorInfo, read_header
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import require_loadable, require_part_loadable
from localllm.gguf_file.split_names import model_files, split_name
from localllm.native.installed import knows_architecture
from localllm.native.quantize_parameters import LATER_LLAMA_CPP
from localllm.native.rows import are_valid_rows
from localllm.quantization.source import PiecesOf, QuantizationSource, SourcePiece

KIND = "gguf"
# by `general.type`: what a file is that is no model, and what to do instead
_OTHERS = {
    "adapter": (
        "a LoRA adapter",
        "quantize its base; an adapter is used beside it as it is, or merged from its directory: "
        "`localllm quantize BASE --adapter DIRECTORY`",
    ),
    "imatrix": ("an importance matrix", "name the model, and the matrix as `--imatrix FILE`"),
    "mmproj": ("the part of a multimodal model that sees or hears", "quantize its language model"),
}


def gguf_source(path: Path) -> QuantizationSource:
    """Return the model that begins in the GGUF file `path`.

    Raise NotFoundError, InvalidGGUFError for what llama.cpp would not survive, QuantizationError for files
    that are no models.
    """
    paths = _paths(path)
    headers = tuple(map(read_header, paths))
    _require_model(headers[0], path)
    if not any(header.tensors for header in headers):
        raise QuantizationError(
            f"{path} holds no tensors, only a vocabulary",
            hint="name the file with the weights, or convert the checkpoint: `localllm convert`",
        )
    _require_loadable(headers[0], path)
    for part, header in zip(paths[1:], headers[1:], strict=True):
        require_part_loadable(header, str(part))
    return QuantizationSource(
        label=str(path),
        outlines=headers,
        complete=lambda: headers,
        inputs=tuple(paths),
        weights={"kind": KIND, "paths": [str(each) for each in paths]},
        prove=lambda: None,
    )


def open_weights(spec: Mapping[str, Any]) -> PiecesOf:
    """Open what `gguf_source` described."""
    tensors: dict[str, tuple[Path, int, TensorInfo]] = {}
    for path in map(Path, spec["paths"]):
        header = read_header(path)
        for info in header.tensors:
            tensors[info.name] = (path, header.data_offset + info.offset, info)
    return lambda name, weights: _pieces(*tensors[name], weights)


def _paths(first: Path) -> list[Path]:
    """Return the files of a model. Raise NotFoundError when one of a split model is missing."""
    paths = model_files(first)
    found = split_name(first)
    if found and paths and len(paths) < found.count and first.exists():
        raise NotFoundError(
            f"{first} is one of {found.count} files, but only {len(paths)} of them are here",
            hint="download or copy the others into the same directory",
        )
    return paths or [first]


def _require_model(header: GGUFHeader, path: Path) -> None:
    kind = header.text(Key.TYPE)
    if kind not in ("", "model"):
        what, hint = _OTHERS.get(kind, (f"of type {kind[:40]!r}", "only models can be quantized"))
        raise QuantizationError(f"{path} is {what}, not a model", hint=hint)
    count = header.integer(Key.SPLIT_COUNT) or 0
    found = split_name(path)
    if count > 1 and (found is None or found.count != count):
        raise InvalidGGUFError(
            f"{path} is the first of {count} files, but its name does not say so",
            hint=f"name the files {path.stem}-00001-of-{count:05d}.gguf and so on",
        )


def _require_loadable(header: GGUFHeader, path: Path) -> None:
    """Raise InvalidGGUFError, or QuantizationError for an architecture llama.cpp does not know."""
    try:
        require_loadable(header, str(path))
    except InvalidGGUFError:
        if not header.architecture or knows_architecture(header.architecture) is not False:
            raise
        raise QuantizationError(
            f"llama.cpp refuses: unknown model architecture: {header.architecture[:40]!r}",
            hint=LATER_LLAMA_CPP,
        ) from None


def _pieces(path: Path, offset: int, info: TensorInfo, weights: int) -> Iterator[SourcePiece]:
    columns = info.shape[0]
    rows = info.parameters // columns if columns else 0
    step = max(1, weights // max(1, columns))
    for first in range(0, rows, step):
        count = min(step, rows - first)
        read = partial(_read, path, offset, info, first, count)
        yield SourcePiece(info.name, info.type, columns, first, count, read)


def _read(
    path: Path, offset: int, info: TensorInfo, first: int, count: int, space: Workspace
) -> NDArray[np.uint8]:
    row_bytes = info.type.row_bytes(info.shape[0])
    data = space.array("source", (count, row_bytes), np.uint8)
    _read_exactly(path, offset + first * row_bytes, data.data.cast("B"), info.name)
    if not are_valid_rows(data, info.type):
        raise QuantizationError(
            f"{path}: tensor `{info.name}` contains NaN, infinity or damaged blocks",
            hint="convert or download the model again; check the checkpoint with `localllm convert --check`",
        )
    return data


def _read_exactly(path: Path, offset: int, target: memoryview, name: str) -> None:
    # opening it again costs microseconds, and no file stays open however many a model has
    with path.open("rb", buffering=0) as file:
        file.seek(offset, os.SEEK_SET)
        filled = 0
        while filled < len(target) and (got := file.readinto(target[filled:])):
            filled += got
    if filled < len(target):
        raise InvalidGGUFError(f"{path}: the file ends inside tensor `{name}`")
