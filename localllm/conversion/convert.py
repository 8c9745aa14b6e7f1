"""Converts a Hugging Face checkpoint to GGUF: decide everything, prove the vocabulary, stream the tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.assembly import Recipe, assemble
from localllm.checkpoint import Checkpoint
from localllm.conversion.missing_files import completed
from localllm.conversion.out_type import OutType
from localllm.conversion.prepare import Preparation, Wishes, prepare
from localllm.conversion.shards import shards_of, verify_files
from localllm.conversion.verify import verify_header, verify_tokenization
from localllm.conversion.vocabulary_file import vocabulary_file, weightless_file
from localllm.conversion.writing import data_bytes, write_model
from localllm.errors import CheckpointError, ModelLoadError, TokenizerError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.split_names import refuse_other_split, split_paths
from localllm.publication import publishing_files, require_space, translated_errors


@dataclass(frozen=True)
class ConversionResult:
    """What `convert` wrote: sizes in bytes, `level` the type most tensors have.

    `path` is the first of `files` files, the one llama.cpp opens.
    """

    path: Path
    architecture: str
    level: str
    parameters: int
    tensors: int
    size_bytes: int
    files: int = 1


def convert(
    source: Path | Recipe,
    *,
    output: Path | Callable[[str], Path],
    out_type: OutType = OutType.AUTO,
    name: str | None = None,
    pre: str | None = None,
    base: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    keep_mtp: bool = False,
    split_max_bytes: int | None = None,
    emit: Emit = ignore,
) -> ConversionResult:
    """Convert a checkpoint directory, or what a recipe makes of one, to the GGUF file `output`.

    `output` may also say where a file of a given level goes, for `auto` is only known once the checkpoint is.

    `out_type` is the type of the matrices (`auto`: the checkpoint's own 16-bit type), `name` replaces
    `general.name`, `overrides` other `general.*` keys, `pre` the recognised pre-tokenizer; `base` is a
    directory to take missing tokenizer files from; `keep_mtp` keeps the layers for multi-token prediction;
    `split_max_bytes` asks for several files, named after `output`, of at most that many bytes of tensors
    each. Nothing is written unless the whole conversion succeeds: the vocabulary is tested in llama.cpp
    first, the finished file's header is read again. Raise
    CheckpointError, UnsupportedModelError, TokenizerError, UsageError or StorageError.
    """
    recipe = source if isinstance(source, Recipe) else Recipe(source)
    checkpoint = completed(assemble(recipe, emit), base, emit)
    work = prepare(checkpoint, Wishes(out_type, name, pre, overrides, keep_mtp), emit)
    plan = work.model.plan
    target = output if isinstance(output, Path) else output(plan.out_type.name)
    if target.is_dir():
        raise UsageError(f"{target} is a directory", hint="give the file a name, for example model.gguf")
    shards = shards_of(plan.tensors, split_max_bytes)
    paths = split_paths(target, len(shards))
    refuse_other_split(paths)
    with translated_errors(target):
        require_space([(target, data_bytes(plan))])
    prove_tokenization(checkpoint, work, forced=pre is not None, emit=emit)
    with publishing_files(paths) as parts:
        size = write_model(parts, shards, work.metadata, work.model.config, emit)
        verify_files(parts, paths)
    return ConversionResult(
        path=paths[0],
        architecture=work.model.family.arch,
        level=plan.out_type.name,
        parameters=plan.parameters,
        tensors=len(plan.tensors),
        size_bytes=size,
        files=len(paths),
    )


def prove_tokenization(checkpoint: Checkpoint, work: Preparation, *, forced: bool, emit: Emit) -> None:
    """Refuse a vocabulary that llama.cpp uses differently, unless the user insisted on a pre-tokenizer.

    And a model that it would not load at all.
    """
    try:
        remarks = _remarks(checkpoint, work)
    except TokenizerError as error:
        if not forced:
            raise
        remarks = [error.message]
    for remark in remarks:
        emit(Notice(remark, topic="tokenization"))


def _remarks(checkpoint: Checkpoint, work: Preparation) -> list[str]:
    """Let llama.cpp load what would be written, without its weights where that is possible, and tokenize."""
    with weightless_file(work.metadata, (tensor.entry for tensor in work.model.plan.tensors)) as path:
        if path is not None:
            return _remarks_about(path, checkpoint, work, whole=True)
    with vocabulary_file(work.metadata) as path:
        return _remarks_about(path, checkpoint, work, whole=False)


def _remarks_about(path: Path, checkpoint: Checkpoint, work: Preparation, *, whole: bool) -> list[str]:
    verify_header(path, checkpoint.directory.name)  # what would make llama.cpp abort
    try:
        return verify_tokenization(path, checkpoint, work.texts.vocabulary.source, whole=whole)
    except ModelLoadError as error:
        raise CheckpointError(
            f"llama.cpp would not load what {checkpoint.directory} becomes: "
            f"{error.message.partition(f'{path}: ')[2]}",
            hint="is every file of the directory the one that belongs to this model?",
        ) from None
