"""Where a model comes from, as it says itself. All of it is the text of strangers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import ValueType

_MAX_ITEMS = 1000  # of a list; a file may claim any number
# what is taken from one key, the first that is there
_TEXTS = {
    "basename": ("basename",),
    "finetune": ("finetune",),
    "version": ("version",),
    "size_label": ("size_label",),
    "author": ("author",),
    "organization": ("organization",),
    "description": ("description",),
    "quantized_by": ("quantized_by",),
    "license": ("license",),
    "license_name": ("license.name",),
    "license_link": ("license.link",),
    "url": ("url", "repo_url"),
    "source_url": ("source.url", "source.repo_url", "source.huggingface.repository"),
}


@dataclass(frozen=True)
class Identity:
    """The `general.*` keys that name a model, its makers, its licence and what it was made from."""

    basename: str = ""
    finetune: str = ""
    version: str = ""
    size_label: str = ""
    author: str = ""
    organization: str = ""
    description: str = ""
    quantized_by: str = ""
    license: str = ""
    license_name: str = ""
    license_link: str = ""
    url: str = ""
    source_url: str = ""
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def identity_of(header: GGUFHeader) -> Identity:
    """Return what a header says of where the model comes from."""
    texts = {
        field: next(filter(None, (header.text(f"general.{key}") for key in keys)), "")
        for field, keys in _TEXTS.items()
    }
    return Identity(
        **texts,
        base_models=tuple(_numbered(header, "base_model")),
        datasets=(*_numbered(header, "dataset"), *_texts(header, "general.datasets")),
        tags=_texts(header, "general.tags"),
        languages=_texts(header, "general.languages"),
    )


def _numbered(header: GGUFHeader, what: str) -> Iterator[str]:
    """Yield the hub's name of `general.{what}.0.*` and so on, else `organization/name`, or what there is."""
    count = header.integer(f"general.{what}.count") or 0
    for number in range(min(count, _MAX_ITEMS)):
        prefix = f"general.{what}.{number}"
        name, organization = header.text(f"{prefix}.name"), header.text(f"{prefix}.organization")
        repository = header.text(f"{prefix}.repo_url")
        if repository.startswith("https://huggingface.co/"):
            yield repository.removeprefix("https://huggingface.co/")
        elif name or repository:
            yield f"{organization}/{name}" if organization and name else name or repository


def _texts(header: GGUFHeader, key: str) -> tuple[str, ...]:
    values = header.array(key)
    if values is None:
        single = header.text(key)
        return (single,) if single else ()
    if values.item_type is not ValueType.STRING or len(values) > _MAX_ITEMS:
        return ()
    return tuple(map(str, values.decode()))
