"""What Ollama is to know of a model: template, stop texts, sampling and licence, from its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm.chat_template.of_model import template_of
from localllm.engine.base import Source
from localllm.engine.defaults import read_generation_config, recommended
from localllm.errors import GenerationError
from localllm.export.modelfile import Modelfile
from localllm.export.translation import Translation, translate
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import read_loadable
from localllm.inspection.identity import identity_of
from localllm.inspection.vocabulary import vocabulary_of
from localllm.native.model import Model

_LICENSES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_LONGEST_LICENSE = 256 * 1024
_LONGEST_STOP = 64
_NO_TEMPLATE = "without TEMPLATE Ollama takes one of its own if it knows the model's, else the bare prompt"


@dataclass(frozen=True)
class OllamaContent:
    """A Modelfile to be, and what became of the model's chat template."""

    modelfile: Modelfile
    translation: Translation


def ollama_content(
    path: Path, files: Sequence[str], *, name: str, system: str | None, adapters: Sequence[str]
) -> OllamaContent:
    """Return what Ollama is to know of the model in `path`, whose files are called `files` there.

    Raise InvalidGGUFError, ModelLoadError.
    """
    header = read_loadable(path)
    translation = _translation(path, header)
    comments = [f"{name}, from {path.name}"]
    if translation.source is None:
        comments += [f"no TEMPLATE: {translation.problem}", _NO_TEMPLATE]
    else:
        comments.append(
            f"TEMPLATE makes the prompts of the model's own, in {translation.checked} conversations"
        )
    content = Modelfile(
        files=files,
        adapters=adapters,
        template=translation.source,
        system=system,
        parameters=[*_sampling(path, header), *(("stop", text) for text in _stops(header, translation))],
        license=_license(path, header),
        comments=[*comments, *translation.notes],
    )
    return OllamaContent(content, translation)


def _translation(path: Path, header: GGUFHeader) -> Translation:
    source = header.text(Key.CHAT_TEMPLATE)
    if not source:
        return Translation(None, "the model has no chat template")
    with Model(path, vocabulary_only=True) as model:
        bos = model.piece(model.bos, special=True).decode("utf-8", "replace") if model.adds_bos else ""
        try:
            template = template_of(model, source)
        except GenerationError as error:
            return Translation(None, error.message)
    assert template is not None
    return translate(template, bos=bos)


def _sampling(path: Path, header: GGUFHeader) -> list[tuple[str, str]]:
    """Return what the file or its generation_config.json recommends; Ollama's names are ours."""
    found = recommended(header, read_generation_config(path.parent))
    return [
        (name, f"{setting.value:g}")
        for name, setting in found.items()
        if setting.source is not Source.DEFAULT
    ]


def _stops(header: GGUFHeader, translation: Translation) -> list[str]:
    """Return what ends an answer: the model's own tokens for it, else the beginning of the next question."""
    vocabulary = vocabulary_of(header)
    ends = [text for text in vocabulary.ends if _is_fit(text)] if vocabulary else []
    turns = translation.turns
    if turns is None or any(end in turns.answer[1] for end in ends):
        return ends
    following = turns.question[0].strip()
    return [*ends, following] if _is_fit(following) else ends


def _is_fit(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= _LONGEST_STOP


def _license(path: Path, header: GGUFHeader) -> str | None:
    """Return the licence that lies beside the model, else its name in the file."""
    for name in _LICENSES:
        text = _read(path.parent / name)
        if text:
            return text
    identity = identity_of(header)
    words = (identity.license_name or identity.license, identity.license_link)
    return ", ".join(filter(None, words)) or None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_LICENSE + 1)
        return content.decode("utf-8-sig").strip() if len(content) <= _LONGEST_LICENSE else ""
    except (OSError, UnicodeDecodeError):
        return ""
