"""Whether the tensors are stored in types that llama.cpp computes with."""

from __future__ import annotations

from localllm.gguf_file.format import TensorType
from localllm.gguf_file.header import GGUFHeader, TensorInfo
from localllm.gguf_file.window import shown

_LEAST_ALIGNMENT = 32  # TENSOR_ALIGNMENT of ggml-backend.cpp
_NOT_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")
# added, multiplied or convolved as they are, in F32 alone, whatever their shape
_F32_ENDINGS = ("norm.weight", ".bias", ".ssm_a", ".ssm_d", ".ssm_conv1d.weight", ".shortconv.conv.weight")


def tensors_problem(header: GGUFHeader) -> str | None:
    """Return what is wrong with the type or place of a tensor."""
    for tensor in header.tensors:
        problem = _type(tensor.type, tensor)
        if problem:
            return problem
        if (header.data_offset + tensor.offset) % _LEAST_ALIGNMENT:
            return f"tensor `{shown(tensor.name)}` is not aligned to {_LEAST_ALIGNMENT} bytes"
    return None


def _type(kind: TensorType, tensor: TensorInfo) -> str | None:
    if kind.name in _NOT_WEIGHTS:
        return f"tensor `{shown(tensor.name)}` has type {kind.name}, which is not a weight type"
    is_vector = sum(size > 1 for size in tensor.shape) <= 1 and len(tensor.shape) == 1
    if (is_vector or tensor.name.endswith(_F32_ENDINGS)) and kind.name != "F32":
        return f"vector `{shown(tensor.name)}` is stored as {kind.name} instead of F32"
    return None
