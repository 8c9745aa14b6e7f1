"""What `localllm inspect` says of a model, in words: the sections of a description."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from localllm.cli.facts import Fact, Item, Section
from localllm.control_filter import clean
from localllm.units import format_bytes, format_count

if TYPE_CHECKING:
    from localllm.inspection.description import ModelDescription
    from localllm.inspection.storage import TypeShare
    from localllm.inspection.vocabulary import SpecialToken, Vocabulary

_KINDS = {
    "vocabulary": "vocabulary only",
    "adapter": "LoRA adapter",
    "projector": "projector for a language model",
    "imatrix": "importance matrix",
    "checkpoint": "checkpoint",
    "weights": "safetensors file",
}
_BAR = 24  # columns
_LONGEST_TEXT = 300
_LONGEST_LABEL = 16
_FEW = 6  # of a list that is named


def header_section(d: ModelDescription) -> Section:
    """Return what it is called, where it lies and where it comes from."""
    title = d.name or PurePath(d.path.replace("\\", "/")).name
    kind = _KINDS.get(d.kind)
    return Section(f"{title} ({kind})" if kind else title, list(_identity(d)))


def weights_section(d: ModelDescription) -> Section:
    """Return how the weights are stored, a bar for each type."""
    return Section("Weights", list(_weights(d)) if d.tensors else [])


def tokenizer_section(d: ModelDescription) -> Section:
    """Return vocabulary, chat template and sampling settings."""
    return Section("Tokenizer and chat", list(_tokenizer(d)))


def problems_section(d: ModelDescription) -> Section:
    """Return what was noticed."""
    return Section("Problems", [Item(problem.message, problem.hint) for problem in d.problems])


def listed(items: Sequence[str], most: int = _FEW) -> str:
    """Return the first of some texts, and how many more there are."""
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def percent(share: float) -> str:
    """Return a share in percent, the smallest ones not as nothing."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _identity(d: ModelDescription) -> Iterator[Fact]:
    more = f" and {len(d.files) - 1} more files" if len(d.files) > 1 else ""
    is_directory = d.kind == "checkpoint" or (d.kind == "adapter" and d.source is None and not d.architecture)
    yield Fact("directory" if is_directory else "file", d.path + ("" if is_directory else more))
    found = d.identity
    made = ", ".join(filter(None, (found.author, found.organization)))
    names = (found.basename, found.finetune, found.version, found.size_label)
    licence = found.license_name or found.license
    facts = {
        "by": made,
        "described as": found.description[:_LONGEST_TEXT],
        "goes by": ", ".join(filter(None, names)),
        "licence": " ".join(filter(None, (licence, found.license_link))),
        "base models": listed(found.base_models),
        "from": " ".join(dict.fromkeys(filter(None, (found.url, found.source_url)))),
        "quantized by": found.quantized_by,
        "languages": listed(found.languages, 12),
        "tags": listed(found.tags, 12),
        "datasets": listed(found.datasets),
        **_contents(d),
    }
    yield from (Fact(label, value) for label, value in facts.items() if value)


def _contents(d: ModelDescription) -> dict[str, str]:
    """Return the files of a checkpoint, and what a safetensors file says in words."""
    if d.source is None:
        return {clean(key)[:_LONGEST_LABEL]: value for key, value in d.metadata.items()}
    weights = [PurePath(file.path.replace("\\", "/")).name for file in d.files]
    return {"weights in": listed(weights, 3), "tokenizer in": ", ".join(d.source.tokenizer_files)}


def _weights(d: ModelDescription) -> Iterator[Fact]:
    if d.kind in ("adapter", "projector", "weights"):
        yield Fact("parameters", f"{format_count(d.parameters)} ({d.parameters:,})")
    bits = f"{d.bits_per_weight:.2f} bits per weight"
    yield Fact("size", f"{format_bytes(d.size_bytes)} in {_counted(d.tensors, 'tensor')}, {bits}")
    if d.level:
        yield Fact("level", d.level)
    if d.source and d.source.quantization:
        yield Fact("quantized", d.source.quantization)
    whole = max(1, sum(share.size_bytes for share in d.types))
    for share in d.types:
        yield _share(share, whole)


def _share(share: TypeShare, whole: int) -> Fact:
    part = share.size_bytes / whole
    figures = f"{percent(part):>5}  {format_bytes(share.size_bytes)} in {_counted(share.tensors, 'tensor')}"
    return Fact(share.type, figures, bar=_bar(part))


def _bar(part: float) -> str:
    """Return a bar of fixed width; eighths of a column where the terminal has them."""
    encoding = sys.stdout.encoding or "ascii"
    eighths = round(part * _BAR * 8)
    try:
        blocks = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
        blocks.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        blocks = "#" * round(part * _BAR)
    return f"{blocks:<{_BAR}}"


def _tokenizer(d: ModelDescription) -> Iterator[Fact]:
    if d.vocabulary:
        yield from _vocabulary(d.vocabulary)
    if d.template:
        yield Fact("chat template", _template(d))
    if d.sampling:
        yield Fact("sampling", ", ".join(f"{name} {_number(value)}" for name, value in d.sampling.items()))


def _vocabulary(v: Vocabulary) -> Iterator[Fact]:
    pre = f", pre-tokenizer {v.pre_tokenizer}" if v.pre_tokenizer else ""
    yield Fact("vocabulary", f"{v.size:,} tokens" + (f", {v.model}{pre}" if v.model else ""))
    named = [token for token in v.special if not token.is_default]
    if named:
        yield Fact("special tokens", ", ".join(map(_token, named)))
    if v.ends:
        yield Fact("answers end at", ", ".join(v.ends))


def _token(token: SpecialToken) -> str:
    added = {True: " (added to texts)", False: " (not added)", None: ""}[token.added]
    return f"{token.role} {token.id} {'?' if token.text is None else token.text}{added}"


def _template(d: ModelDescription) -> str:
    found = d.template
    assert found is not None
    knows = [name for name, is_there in (("tools", found.tools), ("thinking", found.thinking)) if is_there]
    parts = [f"{len(found.source):,} characters"]
    if found.roles:
        parts.append(f"names {', '.join(found.roles)}")
    if knows:
        parts.append(f"knows {' and '.join(knows)}")
    if found.names:
        parts.append(f"further ones: {', '.join(found.names)}")
    return "; ".join(parts)


def _number(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
