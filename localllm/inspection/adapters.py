"""LoRA adapters: what they change, how strongly, and of which base; as GGUF files and as PEFT saves them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.gguf_file import GGUFHeader
from localllm.inspection.dimensions import distinct, finite
from localllm.inspection.identity import identity_of
from localllm.inspection.problem import Problem

if TYPE_CHECKING:
    from localllm.adapters import Adapter as CheckedAdapter

_PART = re.compile(r"(?P<tensor>.+)\.lora_(?P<part>[ab])")
_LAYER = re.compile(r"^(?:.*?\.)?(?:blk|layers|h)\.(\d+)\.")
_WEIGHT = re.compile(r"\.(?:weight|bias)$")


@dataclass(frozen=True)
class Adapter:
    """An adapter; `modules` counts what it changes by name, without the layer.

    `rank` lists all there are. `alpha` over the rank is the strength; a GGUF file with 0 has it in its
    numbers. `variants` are what is more than plain LoRA.
    """

    type: str
    rank: tuple[int, ...] = ()
    alpha: float | None = None
    layers: int | None = None
    modules: Mapping[str, int] = field(default_factory=dict)
    base_model: str = ""
    task: str = ""
    variants: tuple[str, ...] = ()


def adapter_of(header: GGUFHeader) -> Adapter:
    """Return the adapter that a GGUF file holds."""
    pairs = _pairs(header)
    bases = identity_of(header).base_models
    return Adapter(
        type=header.text("adapter.type"),
        rank=distinct([shapes["b"][0] for shapes in pairs.values() if "b" in shapes]),
        alpha=finite(header.number("adapter.lora.alpha")),
        layers=_layers(pairs),
        modules=_modules(pairs),
        base_model=bases[0] if bases else "",
        task=header.text("adapter.lora.task_name"),
    )


def adapter_problems(header: GGUFHeader) -> list[Problem]:
    """Return what llama.cpp would refuse of an adapter."""
    problems = []
    kind = header.text("adapter.type")
    if kind != "lora":
        problems.append(Problem("adapter", f"it is an adapter of type `{kind}`; llama.cpp knows lora only"))
    elif header.number("adapter.lora.alpha") is None:
        problems.append(Problem("adapter", "it does not say how strong it is (`adapter.lora.alpha`)"))
    lacking = [name for name, shapes in _pairs(header).items() if len(shapes) < 2]
    if lacking:
        problems.append(Problem("adapter", f"`{lacking[0]}` has only one of lora_a and lora_b"))
    if not header.architecture:
        problems.append(Problem("architecture", "it does not say for which architecture it is"))
    return problems


def checked_adapter(adapter: CheckedAdapter) -> Adapter:
    """Return what an adapter directory holds that was opened without complaint."""
    settings = adapter.settings
    names = [*adapter.low_rank, *(_WEIGHT.sub("", name) for name in adapter.replaced), *adapter.rows]
    found = adapter_in_settings(settings.values)
    return Adapter(
        type=found.type,
        rank=distinct([part.rank for part in adapter.low_rank.values()]),
        alpha=found.alpha,
        layers=_layers(names),
        modules=_modules(names),
        base_model=found.base_model,
        task=found.task,
        variants=(
            *found.variants,
            *(["whole tensors"] if adapter.replaced else []),
            *(["trained tokens"] if adapter.rows else []),
        ),
    )


def adapter_in_settings(values: Mapping[str, Any]) -> Adapter:
    """Return what adapter_config.json says, whatever is in it."""
    rank, alpha = values.get("r"), values.get("lora_alpha")
    wanted = values.get("target_modules")
    names = [str(name) for name in wanted] if isinstance(wanted, list) else []
    base = values.get("base_model_name_or_path") or values.get("model")
    variants = {"use_rslora": "rsLoRA", "use_dora": "DoRA", "lora_bias": "biases"}
    return Adapter(
        type=str(values.get("peft_type") or "LoRA").lower(),
        rank=(rank,) if isinstance(rank, int) else (),
        alpha=finite(float(alpha)) if isinstance(alpha, int | float) else None,
        modules=dict.fromkeys(sorted(names), 0),
        base_model=base if isinstance(base, str) else "",
        task=str(values.get("task_type") or ""),
        variants=tuple(name for key, name in variants.items() if values.get(key)),
    )


def tensor_files(directory: Path) -> list[Path]:
    """Return the files with weights of an adapter directory."""
    return sorted(directory.glob("adapter*.safetensors"))  # adapter_model, or adapters of MLX


def _pairs(header: GGUFHeader) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of the two parts of each tensor that is changed."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in header.tensors:
        match = _PART.fullmatch(tensor.name)
        if match:
            pairs.setdefault(match["tensor"], {})[match["part"]] = tensor.shape
    return pairs


def _layers(names: Iterable[str]) -> int:
    return len({match[1] for name in names if (match := _LAYER.match(name))})


def _modules(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        short = _WEIGHT.sub("", _LAYER.sub("", name)).removeprefix("model.")
        counts[short] = counts.get(short, 0) + 1
    return dict(sorted(counts.items()))
