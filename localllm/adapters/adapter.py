"""An adapter directory: which modules it adapts, with which matrices and scales, and what it replaces.

Names are given without the wrappers of the training library, as the base model has them:
`model.layers.0.self_attn.q_proj`. Pickled adapters are refused, never opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localllm.adapters.settings import AdapterSettings, read_settings
from localllm.checkpoint import FLOAT_DTYPES, Tensor, read_safetensors
from localllm.checkpoint.numbers import as_float32
from localllm.errors import CheckpointError, NotFoundError, UnsupportedModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WEIGHTS = ("adapter_model.safetensors", "adapters.safetensors")
_WRAPPERS = re.compile(r"^(base_model\.model\.)+")
_NAME = r"(?:\.(?!weight$|bias$)[\w-]+)?"  # some libraries leave the adapter's name in
_PARTS = {
    "a": re.compile(rf"(.+)\.lora_(?:A{_NAME}\.weight|a)$"),
    "b": re.compile(rf"(.+)\.lora_(?:B{_NAME}\.weight|b)$"),
    "embedding_a": re.compile(rf"(.+)\.lora_embedding_A{_NAME}$"),
    "embedding_b": re.compile(rf"(.+)\.lora_embedding_B{_NAME}$"),
    "magnitude": re.compile(rf"(.+)\.lora_magnitude_vector{_NAME}(?:\.weight)?$"),
    "output_bias": re.compile(rf"(.+)\.lora_B{_NAME}\.bias$"),
    "rows": re.compile(rf"(.+)\.token_adapter\.trainable_tokens_delta{_NAME}$"),
}
_REPLACED = re.compile(rf"(.+?)(?:\.modules_to_save{_NAME}|\.base_layer)?\.(weight|bias)$")


@dataclass(frozen=True)
class LowRank:
    """The change of one weight matrix: `scale` times B·A, with A (rank, in) and B (out, rank).

    `is_embedding`: the matrix has a row per token, which is the input. `magnitude` (out,) makes it DoRA
    (Liu et al. 2024, arXiv:2402.09353). `output_bias` (out,) is added to the module's bias, scaled.
    """

    a: Tensor
    b: Tensor
    scale: float
    is_embedding: bool = False
    is_mlx: bool = False
    magnitude: Tensor | None = None
    output_bias: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.a.shape[1] if self.is_mlx else self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Return (out, in) of the matrix it changes."""
        return (self.b.shape[1], self.a.shape[0]) if self.is_mlx else (self.b.shape[0], self.a.shape[1])

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return A (rank, in) and B (out, rank) as float32, not scaled."""
        a, b = as_float32(self.a.read_array(), self.a.dtype), as_float32(self.b.read_array(), self.b.dtype)
        return (a.T, b.T) if self.is_mlx else (a, b)


@dataclass(frozen=True)
class Adapter:
    """An adapter, checked and not yet read.

    `low_rank` maps module names to their change; `replaced` maps parameter names to whole tensors that
    take the base's place; `rows` maps embeddings to (token ids, new rows).
    """

    directory: Path
    settings: AdapterSettings
    low_rank: Mapping[str, LowRank] = field(default_factory=dict)
    replaced: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Mapping[str, tuple[list[int], Tensor]] = field(default_factory=dict)

    @property
    def is_only_low_rank(self) -> bool:
        """Tell whether it holds nothing but B·A: what can be scaled, and kept apart from the model."""
        plain = all(part.magnitude is None and part.output_bias is None for part in self.low_rank.values())
        return plain and not self.replaced and not self.rows


def open_adapter(directory: Path) -> Adapter:
    """Read and check an adapter directory without reading its weights.

    Raise NotFoundError, CheckpointError or UnsupportedModelError with a hint.
    """
    if not directory.is_dir():
        raise NotFoundError(f"no such directory: {directory}", hint="pass the directory of a LoRA adapter")
    settings = read_settings(directory)
    parts: dict[str, dict[str, Tensor]] = {}
    replaced: dict[str, Tensor] = {}
    for tensor in read_safetensors(_weights(directory)):
        _require_content(tensor, directory)
        _sort_in(tensor, parts, replaced)
    low_rank = {
        module: _low_rank(module, found, settings) for module, found in parts.items() if "rows" not in found
    }
    rows = {
        module: (settings.trained_rows(module), found["rows"])
        for module, found in parts.items()
        if "rows" in found
    }
    if not (low_rank or replaced or rows):
        raise CheckpointError(f"{directory} holds no LoRA weights", hint="was the adapter saved to the end?")
    return Adapter(directory, settings, low_rank, replaced, rows)


def is_untrained(adapter: Adapter) -> bool:
    """Tell whether the adapter changes nothing: every B is zero, as before the first step of training."""
    changes = (not part.b.read_array().any() for part in adapter.low_rank.values())
    return not adapter.replaced and not adapter.rows and all(changes)


def _weights(directory: Path) -> Path:
    for name in _WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    pickled = next((path.name for path in sorted(directory.glob("adapter*.bin"))), None)
    if pickled:
        raise UnsupportedModelError(
            f"{directory} holds only pickled weights ({pickled}), which can run code when opened",
            hint="load the adapter with a current PEFT and save it again, as safetensors",
        )
    raise CheckpointError(
        f"{directory} has no {_WEIGHTS[0]}", hint="pass the directory that `save_pretrained` wrote"
    )


def _require_content(tensor: Tensor, directory: Path) -> None:
    if 0 in tensor.shape:
        raise CheckpointError(
            f"{directory}: tensor `{tensor.name}` is empty, as DeepSpeed ZeRO-3 leaves what is not gathered",
            hint="set `stage3_gather_16bit_weights_on_model_save` and save the adapter again",
        )
    if tensor.dtype not in FLOAT_DTYPES:
        raise UnsupportedModelError(f"tensor `{tensor.name}` has type {tensor.dtype}, not floating point")


def _sort_in(tensor: Tensor, parts: dict[str, dict[str, Tensor]], replaced: dict[str, Tensor]) -> None:
    name = _WRAPPERS.sub("", tensor.name)
    for kind, pattern in _PARTS.items():
        match = pattern.match(name)
        if match:
            parts.setdefault(match[1], {})[kind] = tensor
            return
    match = _REPLACED.match(name)
    if match is None or ".lora_" in name or ".token_adapter" in name:
        raise UnsupportedModelError(
            f"tensor `{tensor.name}` is not part of a LoRA adapter", hint="merge the adapter with PEFT"
        )
    replaced[f"{match[1]}.{match[2]}"] = tensor


def _low_rank(module: str, found: Mapping[str, Tensor], settings: AdapterSettings) -> LowRank:
    is_embedding = "embedding_a" in found or "embedding_b" in found
    names = ("embedding_a", "embedding_b") if is_embedding else ("a", "b")
    if not all(name in found for name in names):
        raise CheckpointError(
            f"the adapter has only part of `{module}`: lora_A or lora_B is missing",
            hint="was it saved to the end?",
        )
    a, b = (found[name] for name in names)
    inner = (a.shape[-1], b.shape[0]) if settings.is_mlx else (a.shape[0], b.shape[-1])
    if len(a.shape) != 2 or len(b.shape) != 2 or inner[0] != inner[1]:
        raise UnsupportedModelError(
            f"the adapter's matrices for `{module}` have shapes {list(a.shape)} and {list(b.shape)}",
            hint="only LoRA of matrices is supported",
        )
    return LowRank(
        a=a,
        b=b,
        scale=settings.scale(module, inner[0]),
        is_embedding=is_embedding,
        is_mlx=settings.is_mlx,
        magnitude=found.get("magnitude"),
        output_bias=found.get("output_bias"),
    )
