"""The `general.*` keys: what a model is called, who made it, from what, under which licence.

The reading of the model card, the directory name and config.json is the gguf package's own
(`gguf.Metadata`), so that names agree with those other converters write. Everything comes from an
untrusted model card: lengths are capped, control characters removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf

from localllm.checkpoint import Checkpoint, model_card, name_of_directory
from localllm.conversion.plan import ConversionPlan
from localllm.gguf_file.format import FILE_TYPES, Key, ValueType
from localllm.gguf_file.writer import TypedValue, string, uint32

QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_MAX_TEXT = 16_384
# generation_config.json entry -> `general.sampling.*`
_SAMPLING = {
    "sequence": ("sequence", ValueType.STRING),
    "top_k": ("top_k", ValueType.INT32),
    "top_p": ("top_p", ValueType.FLOAT32),
    "min_p": ("min_p", ValueType.FLOAT32),
    "xtc_probability": ("xtc_probability", ValueType.FLOAT32),
    "xtc_threshold": ("xtc_threshold", ValueType.FLOAT32),
    "temperature": ("temp", ValueType.FLOAT32),
    "penalty_last_n": ("penalty_last_n", ValueType.INT32),
    "repetition_penalty": ("penalty_repeat", ValueType.FLOAT32),
    "mirostat": ("mirostat", ValueType.INT32),
    "mirostat_tau": ("mirostat_tau", ValueType.FLOAT32),
    "mirostat_eta": ("mirostat_eta", ValueType.FLOAT32),
}


def general_metadata(
    checkpoint: Checkpoint,
    arch: str,
    plan: ConversionPlan,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, TypedValue]:
    """Return the `general.*` keys of a converted model.

    `name` replaces the one found, `overrides` any key (see `overrides.read_overrides`).
    """
    given = overrides or {}
    found = _from_model_card(checkpoint, plan, name, given)
    file_type = next(code for code, label in FILE_TYPES.items() if label == plan.file_type)
    return {
        str(Key.ARCHITECTURE): string(arch),
        str(Key.TYPE): string("model"),
        **found,
        **dict(_sampling_defaults(checkpoint, given)),
        str(Key.FILE_TYPE): uint32(file_type),
        str(Key.QUANTIZATION_VERSION): uint32(QUANTIZATION_VERSION),
    }


def _from_model_card(
    checkpoint: Checkpoint, plan: ConversionPlan, name: str | None, given: Mapping[str, Any]
) -> dict[str, TypedValue]:
    card = model_card(checkpoint.directory.resolve())
    titled = Path(name_of_directory(checkpoint.directory))
    metadata = gguf.Metadata.apply_metadata_heuristic(
        gguf.Metadata(), card, dict(checkpoint.config), titled, plan.parameters
    )
    for key, value in given.items():
        field = key.removeprefix("general.").replace(".", "_")
        if not field.startswith("sampling_"):
            setattr(metadata, field, value)
    metadata.name = name or metadata.name or titled.name
    metadata.size_label = metadata.size_label or plan.size_label
    writer = gguf.GGUFWriter(None, "")  # collects the keys; nothing is written
    metadata.set_gguf_meta_model(writer)
    own = (Key.ARCHITECTURE, Key.TYPE)
    return {key: _clean(value) for key, value in writer.kv_data[0].items() if key not in own}


def _clean(value: Any) -> TypedValue:
    """Convert the gguf package's value, removing control characters and capping texts."""
    kind = ValueType(int(value.type))
    if kind is ValueType.ARRAY:
        item_type = ValueType(int(value.sub_type)) if value.sub_type is not None else ValueType.STRING
        return TypedValue(kind, [_clean_item(item) for item in value.value], item_type)
    return TypedValue(kind, _clean_item(value.value))


def _clean_item(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    return "".join(char for char in item if char.isprintable() or char == "\n")[:_MAX_TEXT]


def _sampling_defaults(checkpoint: Checkpoint, given: Mapping[str, Any]) -> Iterator[tuple[str, TypedValue]]:
    """Yield generation_config.json's sampling settings, which chat programs read back as defaults."""
    for name, (suffix, kind) in _SAMPLING.items():
        value = given.get(f"general.sampling.{suffix}", checkpoint.generation_config.get(name))
        if isinstance(value, bool) or value is None:
            continue
        if kind is ValueType.STRING and isinstance(value, str):
            yield f"general.sampling.{suffix}", string(_clean_item(value))
        elif kind is not ValueType.STRING and isinstance(value, int | float):
            number = int(value) if kind is ValueType.INT32 else float(value)
            yield f"general.sampling.{suffix}", TypedValue(kind, number)
