"""Converts a LoRA adapter to a GGUF adapter, for use beside its unmerged base.

llama.cpp multiplies B·A by alpha / rank with one alpha for all tensors; rsLoRA and alpha patterns do not fit
that. With `adapter.lora.alpha` 0 it multiplies by nothing, so the true scale of every module goes into B.
What is more than B·A (whole tensors, DoRA, biases) has no place in such a file and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from localllm.adapters import Adapter, LowRank, open_adapter
from localllm.checkpoint import DerivedTensor, Tensor, architecture_of, read_config
from localllm.conversion.adapter_places import MERGE_HINT, place, require_shape
from localllm.conversion.config import ModelConfig, normalise
from localllm.conversion.convert import ConversionResult
from localllm.conversion.encode import encode_float32
from localllm.conversion.families import family_of
from localllm.conversion.family import Family
from localllm.conversion.metadata import QUANTIZATION_VERSION
from localllm.conversion.out_type import OutType
from localllm.conversion.plan import model_arch
from localllm.conversion.sources import SourceTensor, source_tensors
from localllm.errors import UnsupportedModelError, UsageError
from localllm.events import Advanced, Emit, Finished, Started, ignore
from localllm.gguf_file import read_header
from localllm.gguf_file.format import FILE_TYPES, TENSOR_TYPES_BY_NAME, Key, TensorType, ValueType
from localllm.gguf_file.writer import GGUFWriter, Metadata, TensorEntry, TypedValue, layout, string, uint32
from localllm.publication import publishing, require_space, translated_errors


def convert_adapter(
    source: Path,
    base: Path,
    *,
    output: Path,
    out_type: OutType = OutType.AUTO,
    name: str | None = None,
    emit: Emit = ignore,
) -> ConversionResult:
    """Convert the adapter directory `source` to the GGUF file `output`; `auto` means F32.

    Of `base` only config.json is read. Raise NotFoundError, CheckpointError, UnsupportedModelError,
    UsageError or StorageError.
    """
    planned = prepare_adapter(open_adapter(source), base, out_type)
    metadata = _metadata(planned, name or source.resolve().name)
    with translated_errors(output):
        require_space([(output, planned.data_bytes)])
    emit(Started("convert", len(planned.tensors), "tensors"))
    with publishing(output) as part:
        with part.open("wb") as file:
            writer = GGUFWriter(file, metadata, planned.entries)
            for done, (label, array) in enumerate(planned.tensors.items(), 1):
                rows = array.reshape(-1, array.shape[-1])
                writer.write_tensor(label, [encode_float32(rows, planned.type, label)])
                emit(Advanced("convert", done, label))
            writer.finish()
        read_header(part)
    emit(Finished("convert"))
    return ConversionResult(
        path=output,
        architecture=planned.family.arch,
        level=planned.type.name,
        parameters=planned.parameters,
        tensors=len(planned.tensors),
        size_bytes=writer.total_bytes,
    )


@dataclass(frozen=True)
class AdapterPlan:
    """The tensors of a GGUF adapter, read and in their order, and the type they get."""

    adapter: Adapter
    family: Family
    tensors: Mapping[str, NDArray[np.float32]]
    type: TensorType

    @property
    def entries(self) -> list[TensorEntry]:
        return [TensorEntry(label, array.shape[::-1], self.type) for label, array in self.tensors.items()]

    @property
    def parameters(self) -> int:
        return sum(array.size for array in self.tensors.values())

    @property
    def data_bytes(self) -> int:
        return sum(info.size_bytes for info in layout(self.entries))


def prepare_adapter(adapter: Adapter, base: Path, out_type: OutType) -> AdapterPlan:
    """Plan the conversion of an adapter for the base model in the directory `base`.

    Raise NotFoundError, CheckpointError, UnsupportedModelError or UsageError.
    """
    if out_type is OutType.Q8_0:
        raise UsageError("an adapter cannot be stored as q8_0", hint="leave out `--outtype`, or say f16")
    _require_only_low_rank(adapter)
    values = read_config(base)
    family = family_of(architecture_of(values), values)
    tensors = dict(_tensors(adapter, family, normalise(values, family.defaults)))
    kind = TENSOR_TYPES_BY_NAME["F32" if out_type is OutType.AUTO else out_type.value.upper()]
    return AdapterPlan(adapter, family, tensors, kind)


def _require_only_low_rank(adapter: Adapter) -> None:
    if adapter.is_only_low_rank:
        return
    whole = next(iter((*adapter.replaced, *adapter.rows)), None)
    what = f"replaces `{whole}`" if whole else "is DoRA or has biases of its own"
    raise UnsupportedModelError(
        f"{adapter.directory} {what}, which a GGUF adapter cannot hold", hint=MERGE_HINT
    )


def _tensors(
    adapter: Adapter, family: Family, config: ModelConfig
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield (name, values) of all tensors, `lora_a` before `lora_b`, sorted by name."""
    names = gguf.get_tensor_name_map(model_arch(family.arch), config.layers)
    scaled = [_scaled_b(f"{module}.weight", part) for module, part in adapter.low_rank.items()]
    pairs: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    for source in source_tensors(scaled, family, config):
        name = place(names.get_name(source.name, try_suffixes=(".weight",)), source, family, config)
        pairs[name] = _pair(source, adapter, family, config)
        require_shape(name, pairs[name], family, config)
    for name, (a, b) in sorted(pairs.items()):
        yield f"{name}.lora_a", a
        yield f"{name}.lora_b", b


def _scaled_b(name: str, part: LowRank) -> Tensor:
    """Return B times the true scale: a tensor with the rows of the weight it belongs to."""

    def compute(first: int, count: int) -> NDArray[np.float32]:
        return part.factors()[1][first : first + count] * np.float32(part.scale)

    return DerivedTensor(name, "F32", (part.shape[0], part.rank), "F32", compute)


def _pair(
    source: SourceTensor, adapter: Adapter, family: Family, config: ModelConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return A and B as llama.cpp wants them: the rows of B ordered as the weight's, experts stacked."""
    parts = [adapter.low_rank[rows.tensor.name.removesuffix(".weight")] for rows in source.parts]
    b = np.concatenate([rows.tensor.read_rows(rows.first, rows.count) for rows in source.parts])
    b = b.reshape(source.shape)
    if parts[0].is_embedding:  # looked up by token: a row of A for each
        return np.ascontiguousarray(parts[0].factors()[0].T), b
    op = next((op for ending, op in family.ops.items() if source.name.endswith(ending)), None)
    first = [part.factors()[0] for part in parts]
    if op is not None and op.rowwise:
        first = [op.apply(a, config) for a in first]
    elif op is not None and not op.swaps_axes:  # A and B are never transposed, whatever their base is
        b = op.apply(b, config)
    return np.stack(first) if b.ndim == 3 else first[0], np.ascontiguousarray(b)


def _metadata(planned: AdapterPlan, name: str) -> Metadata:
    file_type = next(code for code, label in FILE_TYPES.items() if label == planned.type.name)
    base = planned.adapter.settings.base
    origin = (
        {"general.base_model.count": uint32(1), "general.base_model.0.name": string(base)} if base else {}
    )
    return {
        str(Key.ARCHITECTURE): string(planned.family.arch),
        str(Key.TYPE): string("adapter"),
        "adapter.type": string("lora"),
        str(Key.NAME): string(name),
        **origin,
        str(Key.FILE_TYPE): uint32(file_type),
        str(Key.QUANTIZATION_VERSION): uint32(QUANTIZATION_VERSION),
        "adapter.lora.alpha": TypedValue(ValueType.FLOAT32, 0.0),
    }
