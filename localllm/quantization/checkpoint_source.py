"""A checkpoint, with adapters merged into it or not, as what is quantized.

Quantizing sees exactly what a conversion would have written: one command makes the file that two would make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localllm.assembly import Recipe, assemble
from localllm.checkpoint import Checkpoint
from localllm.conversion.convert import prove_tokenization
from localllm.conversion.encode import encode_piece
from localllm.conversion.missing_files import completed
from localllm.conversion.out_type import OutType
from localllm.conversion.pieces import Piece, pieces_of
from localllm.conversion.prepare import (
    Wishes,
    look_around,
    model_metadata,
    prepare_model,
    start_ahead,
    with_texts,
)
from localllm.conversion.workspace import Workspace
from localllm.events import Emit, ignore
from localllm.gguf_file.writer import header_to_be, layout
from localllm.quantization.source import PiecesOf, QuantizationSource, SourcePiece
from localllm.quantization.up_to_date import input_files

KIND = "checkpoint"


def checkpoint_source(
    recipe: Recipe,
    *,
    name: str | None = None,
    base: Path | None = None,
    pre: str | None = None,
    keep_mtp: bool = False,
    emit: Emit = ignore,
) -> QuantizationSource:
    """Return the model `recipe` makes; the options are those of `conversion.convert`.

    The vocabulary is only built when the headers are completed. Raise CheckpointError, UnsupportedModelError
    or NotFoundError; completing raises TokenizerError.
    """
    checkpoint = completed(assemble(recipe, emit), base, emit)
    out_type = _stored_type(checkpoint)
    wishes = Wishes(out_type, name, pre, keep_mtp=keep_mtp)
    start_ahead(checkpoint)
    look_around(checkpoint, emit)
    model = prepare_model(checkpoint, wishes, emit)
    metadata = model_metadata(checkpoint, model, wishes)
    tensors = layout(tensor.entry for tensor in model.plan.tensors)
    work = cache(partial(with_texts, checkpoint, model, metadata, wishes, emit))
    return QuantizationSource(
        label=str(recipe.base),
        outlines=(header_to_be(metadata, tensors),),
        complete=lambda: (header_to_be(work().metadata, tensors),),
        inputs=_inputs(recipe, checkpoint),
        weights={
            "kind": KIND,
            "base": str(recipe.base),
            "adapters": [str(adapter) for adapter in recipe.adapters],
            "scale": recipe.scale,
            "as_in_training": recipe.as_in_training,
            "out_type": out_type.value,
            "keep_mtp": keep_mtp,
        },
        prove=lambda: prove_tokenization(checkpoint, work(), forced=pre is not None, emit=emit),
    )


def open_weights(spec: Mapping[str, Any]) -> PiecesOf:
    """Open what `checkpoint_source` described."""
    adapters = tuple(map(Path, spec["adapters"]))
    recipe = Recipe(Path(spec["base"]), adapters, spec["scale"], spec["as_in_training"])
    wishes = Wishes(OutType(spec["out_type"]), keep_mtp=spec["keep_mtp"])
    model = prepare_model(assemble(recipe), wishes, ignore)
    planned = {tensor.entry.name: tensor for tensor in model.plan.tensors}
    return lambda name, weights: _pieces(name, pieces_of(planned[name], model.config, weights))


def _stored_type(checkpoint: Checkpoint) -> OutType:
    """Return what a conversion should write: the 16-bit type of the weights, F32 where they have none."""
    dtypes = {tensor.native_dtype for tensor in checkpoint.tensors.values() if len(tensor.shape) > 1}
    return OutType.AUTO if dtypes & {"BF16", "F16"} else OutType.F32


def _pieces(name: str, pieces: Iterator[Piece]) -> Iterator[SourcePiece]:
    first = 0
    for piece in pieces:
        yield SourcePiece(name, piece.kind, piece.columns, first, piece.rows, partial(_read, piece))
        first += piece.rows


def _read(piece: Piece, space: Workspace) -> NDArray[np.uint8]:
    return np.frombuffer(encode_piece(piece, space), np.uint8).reshape(piece.rows, -1)


def _inputs(recipe: Recipe, checkpoint: Checkpoint) -> tuple[Path, ...]:
    tokenizer = (checkpoint.fallback,) if checkpoint.fallback else ()
    return input_files((recipe.base, *recipe.adapters, *tokenizer))
