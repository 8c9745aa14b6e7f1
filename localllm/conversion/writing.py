"""Writes a planned conversion to a file: header first, then tensor after tensor, in the plan's order."""

from __future__ import annotations

from pathlib import Path

from localllm.conversion.config import ModelConfig
from localllm.conversion.encode import encode_tensor
from localllm.conversion.plan import ConversionPlan
from localllm.events import Advanced, Emit, Finished, Started
from localllm.gguf_file.writer import GGUFWriter, Metadata, layout


def data_bytes(plan: ConversionPlan) -> int:
    """Return how many bytes the tensors of `plan` take, padding aside."""
    return sum(tensor.size_bytes for tensor in layout(t.entry for t in plan.tensors))


def write_model(
    path: Path, plan: ConversionPlan, metadata: Metadata, config: ModelConfig, emit: Emit
) -> int:
    """Write everything to `path` and return its size. Raise CheckpointError for weights it cannot hold."""
    emit(Started("convert", data_bytes(plan), "bytes"))
    done = 0
    with path.open("wb") as file:
        writer = GGUFWriter(file, metadata, (tensor.entry for tensor in plan.tensors))
        for planned, info in zip(plan.tensors, writer.tensors, strict=True):
            writer.write_tensor(planned.entry.name, encode_tensor(planned, config))
            done += info.size_bytes
            emit(Advanced("convert", done, planned.entry.name))
        writer.finish()
    emit(Finished("convert"))
    return writer.total_bytes
