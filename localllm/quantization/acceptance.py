"""Has llama.cpp load what options make of a model, without its weights and before one is written.

Metadata that the user sets can contradict the tensors, or leave nothing to tokenize with.
"""

from __future__ import annotations

from collections.abc import Sequence

from localllm.errors import InvalidGGUFError, QuantizationError
from localllm.events import Emit, Notice
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.preflight import require_loadable
from localllm.gguf_file.writer import encode_header
from localllm.native.acceptance import refusal
from localllm.quantization.options import QuantizationOptions
from localllm.quantization.plan import LevelPlan
from localllm.quantization.source import QuantizationSource
from localllm.quantization.sparse_files import sparse_files


def require_accepted(
    source: QuantizationSource, plan: LevelPlan, options: QuantizationOptions, emit: Emit
) -> None:
    """Raise QuantizationError when llama.cpp loads `source`, but not what `options` make of it.

    Levels differ in the types of tensors alone, which never matter: one of them stands for all.
    """
    risks = options.risks()
    if not risks:
        return
    reason = _refusal([(file.header, file.size_bytes) for file in plan.files])
    if reason is None:
        return
    if _refusal(list(map(_whole, source.headers))) is not None:
        emit(Notice(f"llama.cpp loads neither {source.label} nor what becomes of it: {reason}", topic="load"))
        return
    raise QuantizationError(
        f"llama.cpp would not load the result: {reason}", hint=f"it is because of {' or '.join(risks)}"
    )


def _refusal(files: Sequence[tuple[bytes, int]]) -> str | None:
    """Return why llama.cpp would not load a model of these headers and sizes; None when it does."""
    with sparse_files(files) as path:
        try:
            require_loadable(read_header(path), "")  # or llama.cpp might abort
            return refusal(path)
        except InvalidGGUFError as error:
            return error.message.removeprefix(": ")


def _whole(header: GGUFHeader) -> tuple[bytes, int]:
    encoded = encode_header(header.encoded, header.tensors)
    return encoded, len(encoded) + sum(t.offset + t.size_bytes for t in header.tensors[-1:])
