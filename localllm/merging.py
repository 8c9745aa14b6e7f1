"""Writes a merged checkpoint: a base with adapters, tensor by tensor, in Hugging Face's layout."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from numpy.typing import NDArray

from localllm.assembly import Recipe, open_base, with_adapters
from localllm.checkpoint import (
    WEIGHTS_INDEX,
    Checkpoint,
    Tensor,
    model_card,
    native_bytes,
    token_embedding,
    write_safetensors,
)
from localllm.checkpoint.directory import TOKENIZER_FILES
from localllm.conversion.encode import encode_float32, require_finite
from localllm.errors import UsageError
from localllm.events import Advanced, Emit, Finished, Started, ignore
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.publication import publishing_directory, require_space, translated_errors

_SHARD_BYTES = 5 * 10**9  # what transformers has long used
_COPIED = ("generation_config.json", "preprocessor_config.json", "processor_config.json", *TOKENIZER_FILES)
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_CARD = """\
---
{front_matter}---

{adapters} merged into {base} by localllm{scale}. The weights were computed in float32 and rounded once.{note}
"""

_ROUNDED = (
    "\n\nBefore that the base's linear layers were rounded to NF4, as in the adapter's training (QLoRA)."
)


@dataclass(frozen=True)
class MergeResult:
    """What `merge` wrote: `changed` of `tensors` are not the base's, sizes in bytes."""

    path: Path
    tensors: int
    changed: int
    files: int
    parameters: int
    size_bytes: int


def merge(recipe: Recipe, *, output: Path, emit: Emit = ignore) -> MergeResult:
    """Write the checkpoint that `recipe` describes to the directory `output`, which must not exist yet.

    Weights stay in the base's dtype. Nothing is left behind when it fails. Raise CheckpointError,
    UnsupportedModelError, UsageError or StorageError.
    """
    _require_new(output)
    base = open_base(recipe, emit)
    checkpoint = with_adapters(base, recipe, emit)
    shards = _shards(list(checkpoint.tensors.values()))
    total = sum(map(native_bytes, checkpoint.tensors.values()))
    with translated_errors(output):
        require_space([(output, total)])
    emit(Started("merge", total, "bytes"))
    with publishing_directory(output) as part:
        _write_weights(part, shards, emit)
        _write_side_files(part, checkpoint, recipe)
    emit(Finished("merge"))
    tensors = checkpoint.tensors.values()
    return MergeResult(
        path=output,
        tensors=len(tensors),
        changed=sum(tensor is not base.tensors.get(tensor.name) for tensor in tensors),
        files=len(shards),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        size_bytes=total,
    )


def _require_new(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists already", hint="choose another directory with `-o`")


def _shards(tensors: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Share the tensors out among files of at most 5 GB each, in order; one file has no number."""
    groups: list[list[Tensor]] = [[]]
    filled = 0
    for tensor in tensors:
        size = native_bytes(tensor)
        if groups[-1] and filled + size > _SHARD_BYTES:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += size
    if len(groups) == 1:
        return {"model.safetensors": groups[0]}
    count = len(groups)
    return {f"model-{i:05d}-of-{count:05d}.safetensors": group for i, group in enumerate(groups, 1)}


def _write_weights(part: Path, shards: Mapping[str, list[Tensor]], emit: Emit) -> None:
    done = 0

    def advance(tensor: Tensor) -> None:
        nonlocal done
        done += native_bytes(tensor)
        emit(Advanced("merge", done, tensor.name))

    for name, tensors in shards.items():
        write_safetensors(part / name, tensors, _encode, advance)
    if len(shards) > 1:
        places = {tensor.name: name for name, tensors in shards.items() for tensor in tensors}
        _write_json(part / WEIGHTS_INDEX, {"metadata": {"total_size": done}, "weight_map": places})


def _encode(rows: NDArray[Any], tensor: Tensor) -> memoryview:
    """Return rows as the tensor's native dtype. Raise CheckpointError for NaN, infinity and overflow."""
    if not tensor.is_derived:
        return rows.data.cast("B")
    require_finite(rows, tensor)
    native = tensor.native_dtype
    if native == "F64":
        return rows.astype("<f8").data.cast("B")
    return encode_float32(rows, TENSOR_TYPES_BY_NAME[native], tensor.name)


def _write_side_files(part: Path, checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Copy what belongs to the tokenizer and the licence, and write config.json and a model card."""
    copied = [path for name in _COPIED if (path := checkpoint.file(name)) is not None]
    copied += [path for pattern in _LICENCES for path in sorted(checkpoint.directory.glob(pattern))]
    for path in copied:
        if path.is_file():
            shutil.copyfile(path, part / path.name)
    _write_json(part / "config.json", _with_vocabulary_size(checkpoint))
    (part / "README.md").write_text(_card(checkpoint, recipe), encoding="utf-8", newline="\n")


def _with_vocabulary_size(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return config.json with as many tokens as the embedding has rows, where an adapter added some."""
    config = dict(checkpoint.config)
    embedding = token_embedding(checkpoint.tensors)
    if embedding is not None and embedding.is_derived and "vocab_size" in config:
        config["vocab_size"] = embedding.rows
    return config


def _card(checkpoint: Checkpoint, recipe: Recipe) -> str:
    base = model_card(checkpoint.directory)
    kept = ("license", "license_name", "license_link", "language", "pipeline_tag", "library_name")
    front = {name: base[name] for name in kept if name in base}
    front["base_model"] = checkpoint.directory.resolve().name
    scale = "" if recipe.scale == 1.0 else f" at scale {recipe.scale:g}"
    return _CARD.format(
        front_matter=yaml.safe_dump(front, sort_keys=True, allow_unicode=True),
        adapters=", ".join(path.resolve().name for path in recipe.adapters) or "Nothing",
        base=checkpoint.directory.resolve().name,
        scale=scale,
        note=_ROUNDED if recipe.as_in_training else "",
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
