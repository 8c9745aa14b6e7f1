"""How two vocabularies differ, id by id: counts, and the first examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localllm.gguf_file import ArrayValue
from localllm.gguf_file.format import ValueType

EXAMPLES = 5


@dataclass(frozen=True)
class TokenExample:
    """An id with its text before and after; None where there is no such id."""

    id: int
    old: str | None
    new: str | None


@dataclass(frozen=True)
class TokenChanges:
    """How many ids got another text, how many are new or gone, and the first of each."""

    old_size: int
    new_size: int
    changed: int
    added: int
    removed: int
    examples: tuple[TokenExample, ...]


def token_changes(old: ArrayValue | None, new: ArrayValue | None) -> TokenChanges | None:
    """Compare two vocabularies, missing ones as empty; return None when they agree."""
    before, after = _texts(old), _texts(new)
    changed = [index for index, (a, b) in enumerate(zip(before, after, strict=False)) if a != b]
    common = min(len(before), len(after))
    added, removed = range(common, len(after)), range(common, len(before))
    if not changed and not added and not removed:
        return None
    shown = (*changed[:EXAMPLES], *added[:EXAMPLES], *removed[:EXAMPLES])
    return TokenChanges(
        old_size=len(before),
        new_size=len(after),
        changed=len(changed),
        added=len(added),
        removed=len(removed),
        examples=tuple(_examples(shown, before, after)),
    )


def _texts(array: ArrayValue | None) -> list[bytes]:
    return [] if array is None or array.item_type is not ValueType.STRING else array.raw_strings()


def _examples(ids: Iterable[int], old: list[bytes], new: list[bytes]) -> Iterable[TokenExample]:
    for index in ids:
        texts = (
            tokens[index].decode("utf-8", "replace") if index < len(tokens) else None for tokens in (old, new)
        )
        yield TokenExample(index, *texts)
