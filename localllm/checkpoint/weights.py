"""Finds the weights of a checkpoint directory: which files, whether all are there, and that they agree.

Headers are validated by the `safetensors` package before a byte of weights is used. Pickled weights
are recognised and refused, never opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from localllm.checkpoint.json_file import read_json
from localllm.checkpoint.safetensors_file import read_safetensors
from localllm.checkpoint.tensor import StoredTensor, Tensor
from localllm.errors import CheckpointError, UnsupportedModelError

WEIGHTS_INDEX = "model.safetensors.index.json"
_PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_POINTER = b"version https://git-lfs"
_NUMBERED = re.compile(r"(?P<stem>model.*)-\d{5}-of-(?P<total>\d{5})\.safetensors")
_MAX_SHARDS = 10_000
_NAMED = 3  # missing files that a message lists


def open_weights(directory: Path) -> dict[str, StoredTensor]:
    """Return the tensors of all weight files in file order: files by name, tensors by name within a file.

    Raise CheckpointError for files that are missing, damaged, only pointers or disagree with the index;
    UnsupportedModelError for pickled weights.
    """
    index = directory / WEIGHTS_INDEX
    expected: dict[str, str] | None = None
    if index.is_file():
        expected = _weight_map(index)
        shards = [directory / name for name in sorted(set(expected.values()))]
        _require_all(shards)
    else:
        shards = sorted(directory.glob("model*.safetensors"))
        if not shards:
            raise _no_weights(directory)
        _require_all(_announced(shards))
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        _refuse_pointer(shard)
        for tensor in read_safetensors(shard):
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
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map", hint="copy or download the index again")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or name.startswith("."):
            raise CheckpointError(
                f"{index} names a file outside its directory: {name!r}",
                hint="the index is damaged or hostile; take the model from another place",
            )
    return weight_map


def _announced(shards: Sequence[Path]) -> list[Path]:
    """Return all files that numbered ones (`model-00001-of-00003.safetensors`) say there are."""
    matches = [match for shard in shards if (match := _NUMBERED.fullmatch(shard.name))]
    totals = {(match["stem"], int(match["total"])) for match in matches if int(match["total"]) <= _MAX_SHARDS}
    return [
        shards[0].with_name(f"{stem}-{number:05d}-of-{total:05d}.safetensors")
        for stem, total in sorted(totals)
        for number in range(1, total + 1)
    ]


def _require_all(shards: Sequence[Path]) -> None:
    missing = [shard.name for shard in shards if not shard.is_file()]
    if not missing:
        return
    place = shards[0].parent
    message = f"{missing[0]} is missing from {place}"
    if len(missing) > 1:
        names = ", ".join(missing[:_NAMED]) + (" and more" if len(missing) > _NAMED else "")
        message = f"{len(missing)} of {len(shards)} shards are missing from {place}: {names}"
    raise CheckpointError(message, hint="copy or download what is missing")


def _refuse_pointer(shard: Path) -> None:
    with shard.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{shard} is a Git LFS pointer, not the weights themselves",
                hint="run `git lfs pull` in the directory, or download the file",
            )


def _check_index(index: Path, expected: Mapping[str, str], found: Mapping[str, Tensor]) -> None:
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing:
        raise CheckpointError(
            f"{index.name} lists `{missing[0]}`, but no shard holds it",
            hint="index and shards are of different models; copy both from one place",
        )
    if extra:
        raise CheckpointError(
            f"`{extra[0]}` is in a shard, but not in {index.name}",
            hint="index and shards are of different models; copy both from one place",
        )


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
