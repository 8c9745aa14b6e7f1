"""Describes GGUF files from their headers alone: no weights are read, llama.cpp is not loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.inspection.description import FileEntry, ModelDescription
from localllm.inspection.dimensions import dimensions_of
from localllm.inspection.fit import memory_of
from localllm.inspection.header_set import HeaderFile, HeaderSet, join_headers
from localllm.inspection.identity import identity_of
from localllm.inspection.kind import Kind, kind_of
from localllm.inspection.problems import model_problems
from localllm.inspection.storage import active_parameters, level_of, stored_tensors, type_shares
from localllm.inspection.template import template_of
from localllm.inspection.vocabulary import vocabulary_of
from localllm.memory import footprint_of
from localllm.native.installed import gpus, knows_architecture
from localllm.quantization.contents import bits_per_weight

if TYPE_CHECKING:
    from localllm.native.library import Device

_SAMPLING = "general.sampling."


def describe(header: GGUFHeader, label: str) -> ModelDescription:
    """Describe a header that was read from `label`."""
    return describe_set(join_headers(label, [HeaderFile(label, header)]))


def describe_set(found: HeaderSet, devices: Sequence[Device] | None = None) -> ModelDescription:
    """Describe a model from the headers of all its files.

    `devices` are what llama.cpp could run it on; None has them looked for where there may be a GPU.
    """
    header = found.whole
    kind = kind_of(header)
    common = _common(found, header, kind)
    if kind in (Kind.MODEL, Kind.VOCABULARY):
        return _with_model(common, header, devices)
    return _with_other(common, header)


def sampling_of(header: GGUFHeader) -> dict[str, int | float | str]:
    """Return the sampling settings a file recommends, by what follows `general.sampling.`."""
    found: dict[str, int | float | str] = {}
    for key in header.metadata:
        if key.startswith(_SAMPLING):
            value = header.metadata[key]
            if isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)):
                found[key.removeprefix(_SAMPLING)] = value
    return found


def _common(found: HeaderSet, header: GGUFHeader, kind: Kind) -> ModelDescription:
    return ModelDescription(
        kind=kind,
        path=found.label,
        name=header.text(Key.NAME),
        architecture=header.architecture,
        level=level_of(header),
        size_bytes=header.file_size_bytes,
        parameters=header.parameters,
        bits_per_weight=bits_per_weight(header) if header.tensors else 0.0,
        tensors=len(header.tensors),
        files=tuple(FileEntry(file.label, file.header.file_size_bytes) for file in found.files),
        identity=identity_of(header),
        types=type_shares(stored_tensors(header.tensors)),
        problems=found.problems,
    )


def _with_other(common: ModelDescription, header: GGUFHeader) -> ModelDescription:
    """Add what only an adapter, a matrix or a projector has; who looks at a model loads none of this."""
    if common.kind is Kind.ADAPTER:
        from localllm.inspection.adapters import adapter_of, adapter_problems

        problems = (*common.problems, *adapter_problems(header))
        return replace(common, adapter=adapter_of(header), problems=problems)
    if common.kind is Kind.IMATRIX:
        from localllm.inspection.matrices import imatrix_of, imatrix_problems

        problems = (*common.problems, *imatrix_problems(header))
        return replace(common, imatrix=imatrix_of(header), problems=problems)
    from localllm.inspection.projectors import encoders_of

    return replace(common, encoders=encoders_of(header))


def _with_model(
    common: ModelDescription, header: GGUFHeader, devices: Sequence[Device] | None
) -> ModelDescription:
    """Add what only a model or a vocabulary has. Of a later file of a split model there is nothing to add."""
    if header.integer(Key.SPLIT_NUMBER):
        return common
    vocabulary, template = vocabulary_of(header), template_of(header)
    footprint = footprint_of(header)
    if footprint is None or not header.tensors:
        memory = None
    else:
        memory = memory_of(header, footprint, gpus() if devices is None else devices)
    return replace(
        common,
        active_parameters=active_parameters(header),
        dimensions=dimensions_of(header, footprint),
        vocabulary=vocabulary,
        template=template,
        sampling=sampling_of(header),
        memory=memory,
        problems=(*common.problems, *model_problems(header, vocabulary, template, knows_architecture)),
    )
