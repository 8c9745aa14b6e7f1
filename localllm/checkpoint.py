"""A Hugging Face checkpoint directory: its configuration, tokenizer files and lazy tensors.

Weights are read by byte range, tensor by tensor, so that a checkpoint of any size needs the memory
of one tensor; nothing is memory-mapped (a file that shrinks while mapped kills the process).
Headers are validated by the `safetensors` package before a byte of weights is used. Pickled weights
are recognised and refused, never opened; `auto_map` and other remote code is never looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.errors import CheckpointError, NotFoundError, UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS_INDEX = "model.safetensors.index.json"
MAX_JSON_BYTES = 256 * 1024 * 1024
_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

# bytes per element of the safetensors dtypes this tool can read
DTYPE_BYTES: dict[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_NUMPY_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}


@dataclass(frozen=True)
class CheckpointTensor:
    """One tensor of a checkpoint, not yet read. `shape` is in row-major (numpy, torch) order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    size_bytes: int

    def read_bytes(self) -> bytes:
        """Return the raw little-endian data. Raise CheckpointError if the file has shrunk."""
        return b"".join(self._read(self.size_bytes, 0, self.size_bytes))

    def read_array(self) -> NDArray[Any]:
        """Return all values in their own dtype and shape; bfloat16 as uint16 (numpy has no bfloat16)."""
        return self._as_array(self.read_bytes()).reshape(self.shape)

    @property
    def rows(self) -> int:
        """Return how many rows of `shape[-1]` values there are."""
        return math.prod(self.shape[:-1])

    def read_pieces(
        self, weights: int, first_row: int = 0, rows: int | None = None
    ) -> Iterator[NDArray[Any]]:
        """Yield `rows` rows (by default all) as arrays of whole rows, about `weights` values at a time."""
        columns = self.shape[-1] if self.shape else 1
        if columns == 0:
            return
        row_bytes = columns * DTYPE_BYTES[self.dtype]
        wanted = (self.rows if rows is None else rows) * row_bytes
        for data in self._read(max(1, weights // columns) * row_bytes, first_row * row_bytes, wanted):
            yield self._as_array(data).reshape(-1, columns)

    def _read(self, piece_bytes: int, start: int, size: int) -> Iterator[bytes]:
        """Yield `size` bytes from byte `start` of the tensor, in pieces."""
        with self.path.open("rb") as file:
            file.seek(self.offset + start)
            remaining = size
            while remaining:
                data = file.read(min(piece_bytes, remaining))
                if len(data) != min(piece_bytes, remaining):
                    raise CheckpointError(f"{self.path}: the file ends inside tensor `{self.name}`")
                remaining -= len(data)
                yield data

    def _as_array(self, data: bytes) -> NDArray[Any]:
        import numpy as np

        return np.frombuffer(data, _NUMPY_DTYPES[self.dtype])


@dataclass(frozen=True)
class Checkpoint:
    """A validated checkpoint directory.

    `config` is config.json as written; `tensors` maps names to lazy tensors in file order (shards
    sorted by name, tensors sorted by name within a shard).
    """

    directory: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, CheckpointTensor]
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """Return the model class named first in config.json."""
        names = self.config.get("architectures")
        return str(names[0]) if isinstance(names, list) and names else ""

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.tensors.values())

    def file(self, name: str) -> Path | None:
        """Return the path of a file in the directory, or None when it is not there."""
        path = self.directory / name
        return path if path.is_file() else None

    def json(self, name: str) -> Any:
        """Return the content of a JSON file in the directory, or None when it is not there."""
        path = self.file(name)
        return None if path is None else _read_json(path)

    def text(self, name: str) -> str | None:
        """Return the content of a text file in the directory, or None when it is not there."""
        path = self.file(name)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")


def is_checkpoint(path: Path) -> bool:
    """Tell whether `path` looks like a checkpoint directory."""
    return path.is_dir() and (path / "config.json").is_file()


def open_checkpoint(directory: Path) -> Checkpoint:
    """Read and validate a checkpoint directory without reading any weights.

    Raise NotFoundError, CheckpointError or UnsupportedModelError with a hint.
    """
    if not directory.exists():
        raise NotFoundError(
            f"no such directory: {directory}",
            hint="pass the directory that holds config.json and model.safetensors",
        )
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} is a file, not a checkpoint directory",
            hint="pass the directory that holds config.json and model.safetensors",
        )
    config = _read_config(directory)
    return Checkpoint(
        directory=directory,
        config=config,
        tensors=_open_weights(directory),
        generation_config=_optional_object(directory / "generation_config.json"),
        tokenizer_config=_optional_object(directory / "tokenizer_config.json"),
    )


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    if not path.is_file():
        if (directory / "adapter_config.json").is_file():
            raise UnsupportedModelError(
                f"{directory} is a LoRA adapter, not a model",
                hint="merge it into its base model first, then convert the merged directory",
            )
        raise CheckpointError(
            f"{directory} has no config.json", hint="is it a Hugging Face checkpoint directory?"
        )
    config = _read_json(path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return config


def _optional_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that may be missing; damaged side files count as missing, config.json does not."""
    if not path.is_file():
        return {}
    try:
        value = _read_json(path)
    except CheckpointError:
        return {}
    return value if isinstance(value, dict) else {}


def _read_json(path: Path) -> Any:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_JSON_BYTES} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "too deeply nested"
        raise CheckpointError(f"{path} is not valid JSON: {reason}") from None


def _open_weights(directory: Path) -> dict[str, CheckpointTensor]:
    index = directory / WEIGHTS_INDEX
    expected: dict[str, str] | None = None
    if index.is_file():
        expected = _weight_map(index)
        shards = [directory / name for name in sorted(set(expected.values()))]
    else:
        shards = sorted(directory.glob("model*.safetensors"))
        if not shards:
            raise _no_weights(directory)
    tensors: dict[str, CheckpointTensor] = {}
    for shard in shards:
        for tensor in _shard_tensors(shard):
            if tensor.name in tensors:
                raise CheckpointError(
                    f"tensor `{tensor.name}` is in {tensors[tensor.name].path.name} and in {shard.name}",
                    hint="remove the stray weight file from the directory",
                )
            tensors[tensor.name] = tensor
    if expected is not None:
        _check_index(index, expected, tensors)
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    content = _read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or name.startswith("."):
            raise CheckpointError(f"{index} names a file outside its directory: {name!r}")
    return weight_map


def _shard_tensors(path: Path) -> Iterator[CheckpointTensor]:
    """Yield the tensors of one safetensors file, sorted by name."""
    if not path.is_file():
        raise CheckpointError(
            f"{path.name} is missing from {path.parent}", hint="copy or download the missing shard"
        )
    _validate_safetensors(path)
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items()):
        begin, end = entry["data_offsets"]
        yield CheckpointTensor(
            name=name,
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
            path=path,
            offset=8 + header_bytes + begin,
            size_bytes=end - begin,
        )


def _validate_safetensors(path: Path) -> None:
    """Let the reference implementation check the header: shapes, offsets, overlaps, truncation."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file: {error}",
            hint="it was not copied or downloaded to the end; fetch it again",
        ) from None


def _check_index(index: Path, expected: dict[str, str], found: Mapping[str, CheckpointTensor]) -> None:
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing:
        raise CheckpointError(f"{index.name} lists `{missing[0]}`, but no shard holds it")
    if extra:
        raise CheckpointError(f"`{extra[0]}` is in a shard, but not in {index.name}")


def _no_weights(directory: Path) -> CheckpointError:
    pickled = sorted(path.name for path in directory.iterdir() if path.suffix in _PICKLED_SUFFIXES)
    if pickled:
        return UnsupportedModelError(
            f"{directory} holds only pickled weights ({pickled[0]}), which can run code when opened",
            hint="save the model again with `save_pretrained(..., safe_serialization=True)`",
        )
    return CheckpointError(
        f"{directory} has no model*.safetensors", hint="the weights must be saved as safetensors"
    )
