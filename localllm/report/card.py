"""A model card: what a comparison adds to a README.md, between two marks; the rest of it is its author's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localllm.comparison.measurement import ComparisonResult
from localllm.report.front_matter import stated, with_entries
from localllm.report.markdown import escape, to_markdown

BEGIN = "<!-- localllm: comparison -->"
END = "<!-- localllm: end of comparison -->"
IMAGE = "localllm-comparison.png"  # beside the card
TAGS = ("gguf",)
_BELONGING = {"license": ("license_name", "license_link"), "base_model": ("base_model_relation",)}
_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Origins:
    """What is known of where a model comes from, as names for a card's front matter; empty where unknown.

    `is_quantization` tells that the files are quantizations of `base_models` themselves, not of a fine-tune.
    """

    base_models: tuple[str, ...] = ()
    is_quantization: bool = False
    quantized_by: str = ""
    license: str = ""
    license_name: str = ""
    license_link: str = ""
    languages: tuple[str, ...] = ()
    pipeline_tag: str = ""


def front_matter(origins: Origins) -> dict[str, Any]:
    """Return the entries of a card's front matter that are known."""
    entries = {
        "base_model": _one_or_many(origins.base_models),
        "base_model_relation": "quantized" if origins.base_models and origins.is_quantization else "",
        "quantized_by": origins.quantized_by,
        "license": origins.license,
        "license_name": origins.license_name,
        "license_link": origins.license_link,
        "language": _one_or_many(origins.languages),
        "pipeline_tag": origins.pipeline_tag,
    }
    return {name: value for name, value in entries.items() if value}


def updated_card(
    existing: str | None, result: ComparisonResult, *, name: str, origins: Origins, has_image: bool
) -> str:
    """Return the card with the comparison in it: the existing one, or a new one titled `name`.

    What is outside of the marks stays byte for byte, apart from entries that are added to the front matter.
    Raise ValueError with a reason when the marks or the front matter cannot be made sense of.
    """
    text = _new(name, origins) if existing is None else existing
    end = "\r\n" if "\r\n" in text else "\n"
    section = _section(result, has_image=has_image).replace("\n", end)
    return with_entries(_placed(text, section, end), _still_missing(existing, origins), TAGS)


def _still_missing(existing: str | None, origins: Origins) -> Mapping[str, Any]:
    """Return what to add: what goes with a licence or a base model only where that is ours, too."""
    entries = front_matter(origins)
    known = frozenset() if existing is None else stated(existing)
    for name, belonging in _BELONGING.items():
        if name in known:
            entries = {key: value for key, value in entries.items() if key not in belonging}
    return entries


def _placed(text: str, section: str, end: str) -> str:
    begins, ends = text.count(BEGIN), text.count(END)
    if (begins, ends) == (0, 0):
        gap = "" if not text else end if text.endswith("\n") else end * 2
        return f"{text}{gap}{section}{end}"
    first, last = text.find(BEGIN), text.find(END)
    if (begins, ends) != (1, 1) or last < first:
        raise ValueError(f"its marks `{BEGIN}` and `{END}` are not one pair")
    return f"{text[:first]}{section}{text[last + len(END) :]}"


def _section(result: ComparisonResult, *, has_image: bool) -> str:
    image = f"![Size and speed of each file against its quality]({IMAGE})\n\n" if has_image else ""
    return f"{BEGIN}\n## How the files compare\n\n{image}{to_markdown(result)}\n{END}"


def _new(name: str, origins: Origins) -> str:
    base = next(iter(origins.base_models), "")
    of = f" of [{escape(base)}]({_HUB}/{base})" if base and origins.is_quantization else ""
    return f"# {escape(name)}\n\nGGUF files{of}, made and measured with localllm.\n"


def _one_or_many(names: tuple[str, ...]) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)
