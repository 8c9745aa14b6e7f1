"""What changed between two models: metadata, tensors, vocabulary, chat template. Weights are not compared."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localllm.gguf_file import ArrayValue, GGUFHeader, TensorInfo
from localllm.gguf_file.format import Key, ValueType
from localllm.inspection.header_set import HeaderSet
from localllm.inspection.metadata import in_short
from localllm.inspection.misfits import without_layer
from localllm.inspection.token_changes import TokenChanges, token_changes

_SPLIT = (Key.SPLIT_NUMBER, Key.SPLIT_COUNT, Key.SPLIT_TENSORS)  # where a model lies is not what it is


@dataclass(frozen=True)
class Change:
    """A value that is another now; a list is told in short, with how many of its items differ."""

    old: Any
    new: Any
    differing: int | None = None


@dataclass(frozen=True)
class TensorChange:
    """Tensors that differ in the same way; `*` in a name stands for the layer, shapes are in ggml order."""

    name: str
    old: str
    new: str
    tensors: int


@dataclass(frozen=True)
class Difference:
    """What leads from `old` to `new`; `template` is a unified diff, empty when there is no change."""

    old: str
    new: str
    old_size_bytes: int
    new_size_bytes: int
    metadata_added: Mapping[str, Any]
    metadata_removed: Mapping[str, Any]
    metadata_changed: Mapping[str, Change]
    tensors_added: tuple[TensorChange, ...]
    tensors_removed: tuple[TensorChange, ...]
    types_changed: tuple[TensorChange, ...]
    shapes_changed: tuple[TensorChange, ...]
    tokens: TokenChanges | None
    template: str

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing but the weights may differ."""
        metadata = (self.metadata_added, self.metadata_removed, self.metadata_changed)
        tensors = (self.tensors_added, self.tensors_removed, self.types_changed, self.shapes_changed)
        return not any(map(len, (*metadata, *tensors))) and self.tokens is None and not self.template


def compare_headers(old: HeaderSet, new: HeaderSet) -> Difference:
    """Compare two models by their headers."""
    before, after = old.whole, new.whole
    added, removed, changed = _metadata(before, after)
    tensors = {tensor.name: tensor for tensor in before.tensors}
    others = {tensor.name: tensor for tensor in after.tensors}
    both = [(tensor, others[name]) for name, tensor in tensors.items() if name in others]
    return Difference(
        old=old.label,
        new=new.label,
        old_size_bytes=before.file_size_bytes,
        new_size_bytes=after.file_size_bytes,
        metadata_added=added,
        metadata_removed=removed,
        metadata_changed=changed,
        tensors_added=_grouped((t.name, "", _stored(t)) for name, t in others.items() if name not in tensors),
        tensors_removed=_grouped(
            (t.name, _stored(t), "") for name, t in tensors.items() if name not in others
        ),
        types_changed=_grouped((a.name, a.type.name, b.type.name) for a, b in both if a.type != b.type),
        shapes_changed=_grouped((a.name, _shape(a), _shape(b)) for a, b in both if a.shape != b.shape),
        tokens=token_changes(before.array(Key.TOKENS), after.array(Key.TOKENS)),
        template=_template(before, after, old.label, new.label),
    )


def _metadata(old: GGUFHeader, new: GGUFHeader) -> tuple[dict[str, Any], dict[str, Any], dict[str, Change]]:
    """Return what was added, removed and changed; values are compared as they lie in the files."""
    own = {key: value for key, value in old.encoded.items() if key not in _SPLIT}
    others = {key: value for key, value in new.encoded.items() if key not in _SPLIT}
    added = {key: in_short(new.metadata[key]) for key in others if key not in own}
    removed = {key: in_short(old.metadata[key]) for key in own if key not in others}
    changed = {
        key: _change(old.metadata[key], new.metadata[key])
        for key, value in own.items()
        if key in others and others[key].data != value.data
    }
    return added, removed, changed


def _change(old: Any, new: Any) -> Change:
    if isinstance(old, ArrayValue) and isinstance(new, ArrayValue):
        return Change(in_short(old), in_short(new), _differing(old, new))
    return Change(in_short(old), in_short(new))


def _differing(old: ArrayValue, new: ArrayValue) -> int:
    """Count the places of two lists that hold something else, or nothing in one of them."""
    pairs: Iterator[tuple[object, object]]
    if old.item_type is ValueType.STRING and new.item_type is ValueType.STRING:
        pairs = zip(old.raw_strings(), new.raw_strings(), strict=False)
    else:
        pairs = zip(old.decode(), new.decode(), strict=False)
    return sum(a != b for a, b in pairs) + abs(len(old) - len(new))


def _grouped(changes: Iterator[tuple[str, str, str]]) -> tuple[TensorChange, ...]:
    counts: dict[tuple[str, str, str], int] = {}
    for name, old, new in changes:
        key = (without_layer(name), old, new)
        counts[key] = counts.get(key, 0) + 1
    return tuple(TensorChange(*key, count) for key, count in counts.items())


def _stored(tensor: TensorInfo) -> str:
    return f"{tensor.type.name} [{_shape(tensor)}]"


def _shape(tensor: TensorInfo) -> str:
    return " x ".join(map(str, tensor.shape))


def _template(old: GGUFHeader, new: GGUFHeader, old_label: str, new_label: str) -> str:
    before, after = (header.text(Key.CHAT_TEMPLATE).splitlines() for header in (old, new))
    return "\n".join(difflib.unified_diff(before, after, old_label, new_label, lineterm=""))
