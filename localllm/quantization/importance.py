"""Holds an importance matrix against what is quantized, and notes in the files where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm.errors import NotFoundError, QuantizationError, UsageError
from localllm.events import Emit, Notice
from localllm.imatrix.matrix import ImportanceMatrix
from localllm.imatrix.reading import read_imatrix
from localllm.quantization.options import Override
from localllm.quantization.plan import EMBEDDINGS, OUTPUT, LevelPlan, PlannedTensor

_MAX_TEXT_BYTES = 127  # as llama.cpp's own tool cuts them


@dataclass(frozen=True)
class Importances:
    """An importance matrix to quantize with, and its file; None while it still has to be collected.

    `datasets` names the texts it was, or will be, collected on.
    """

    path: Path
    datasets: tuple[str, ...]
    matrix: ImportanceMatrix | None

    @classmethod
    def read(cls, path: Path) -> Importances:
        """Read the matrix at `path`. Raise NotFoundError or ImportanceMatrixError."""
        if not path.exists():
            raise NotFoundError(
                f"no such importance matrix: {path}",
                hint="`localllm imatrix MODEL` makes one, and `--imatrix auto` does it on the way",
            )
        matrix = read_imatrix(path)
        return cls(path, matrix.datasets, matrix)


def provenance(importances: Importances) -> tuple[Override, ...]:
    """Return the metadata that llama-quantize writes about an importance matrix.

    Of the file only its name is told: the path says more about the user than about the model.
    """
    entries = len(importances.matrix.entries) if importances.matrix else 0
    chunks = importances.matrix.chunks if importances.matrix else 1
    found = [Override("quantize.imatrix.file", "str", _cut(importances.path.name))]
    if importances.datasets:
        found.append(Override("quantize.imatrix.dataset", "str", _cut(importances.datasets[0])))
    found.append(Override("quantize.imatrix.entries_count", "int", entries))
    if chunks > 0:
        found.append(Override("quantize.imatrix.chunks_count", "int", chunks))
    return tuple(found)


def require_matrix(plans: Sequence[LevelPlan]) -> None:
    """Raise UsageError when a level is of no use without an importance matrix."""
    needy = [plan.level.name for plan in plans if plan.needs_matrix]
    if needy:
        names = ", ".join(needy)
        raise UsageError(
            f"{names} {'needs' if len(needy) == 1 else 'need'} an importance matrix",
            hint="add `--imatrix auto` to have one made, or `--imatrix FILE`; Q2_K and Q3_K_S do without one",
        )


def require_fitting(importances: Importances, plans: Sequence[LevelPlan], emit: Emit) -> None:
    """Raise QuantizationError unless the matrix belongs to this model; tell what it leaves out."""
    path, matrix = importances.path, importances.matrix
    if matrix is None:
        return
    quantized = {
        tensor.source.name: tensor
        for plan in plans
        for tensor in plan.tensors
        if tensor.is_changed and tensor.output.type.block_size > 1
    }
    for tensor in quantized.values():
        _require_size(tensor, matrix, path)
    for plan in plans:
        missing = next((name for name in plan.needs_matrix if name not in matrix.entries), None)
        if missing is not None:
            raise QuantizationError(
                f"{plan.level.name} needs importances for `{missing}`, which {path} lacks",
                hint="collect the matrix with this very model: `localllm imatrix`",
            )
    absent = [name for name in quantized if name not in matrix.entries and name not in (*EMBEDDINGS, OUTPUT)]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        emit(Notice(f"{path} has nothing for `{absent[0]}`{more}: quantized without", topic="imatrix"))


def _require_size(tensor: PlannedTensor, matrix: ImportanceMatrix, path: Path) -> None:
    name, shape = tensor.source.name, tensor.source.shape
    found = matrix.entries.get(name)
    matrices = shape[2] if len(shape) > 2 else 1
    if found is None or found.size == shape[0] * matrices or name in EMBEDDINGS:
        return
    raise QuantizationError(
        f"{path} has {found.size} importances for `{name}`, which has {shape[0] * matrices} columns",
        hint="it was made for another model; collect one for this: `localllm imatrix`",
    )


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:_MAX_TEXT_BYTES].decode("utf-8", "ignore")
