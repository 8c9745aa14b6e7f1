"""Which model a short reference in the chat means: `:Q2_K` is another level of the one that is talking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from localllm.cli.completion import complete_model
from localllm.errors import NotFoundError, UsageError
from localllm.refs import ModelRef, RefKind
from localllm.remote.address import RemoteModel, is_remote
from localllm.store import level_in_name, model_name


def other_model(current: str, text: str) -> str:
    """Return the full reference that `text` stands for when `current` is the model that is talking.

    Of a file, another level is a file beside it; of a server's model `#NAME` is another one there. Raise
    NotFoundError when there is none, UsageError.
    """
    if is_remote(current) and text.startswith(("#", ":")):
        return _on_server(current, text)
    if not text.startswith(":"):
        return text
    level = text[1:].strip().upper()
    ref = ModelRef.parse(current)
    path = Path(ref.target).expanduser()
    if ref.kind is RefKind.PATH and path.is_file():
        return str(_beside(path, level))
    file = None if ref.kind is RefKind.HUB else ref.file
    return str(ModelRef.parse(str(replace(ref, level=level, file=file))))


def _on_server(current: str, text: str) -> str:
    name = text[1:].strip()
    if text.startswith(":") or not name:
        raise UsageError(f"`{text}` names no model of the server", hint="write it like `/model #NAME`")
    return str(replace(RemoteModel.parse(current), name=name))


def lasting(model: str) -> str:
    """Return a reference that means the same from another directory: paths become absolute."""
    if is_remote(model):
        return model
    ref = ModelRef.parse(model)
    path = Path(ref.target).expanduser()
    if ref.kind is RefKind.PATH or (ref.kind is RefKind.LIBRARY and "." in ref.target and path.exists()):
        return str(replace(ref, kind=RefKind.PATH, target=str(path.absolute())))
    return model


def completions(current: str, begun: str) -> Iterable[str]:
    """Return the models that `begun` can become, as they would be typed."""
    if not begun.startswith(":") or is_remote(current):
        return complete_model(begun)
    ref = ModelRef.parse(current)
    path = Path(ref.target).expanduser()
    if ref.kind is RefKind.PATH and path.is_file():
        levels = sorted(_siblings(path))
    else:
        base = str(replace(ref, level=None))
        levels = [name[len(base) + 1 :] for name in complete_model(f"{base}:")]
    return [f":{level}" for level in levels if level.lower().startswith(begun[1:].lower())]


def _beside(path: Path, level: str) -> Path:
    files = _siblings(path)
    if level not in files:
        others = ", ".join(sorted(files))
        raise NotFoundError(
            f"there is no {level or 'level'} of {path.name} beside it",
            hint=f"there are {others}" if len(files) > 1 else "make one with `localllm quantize`",
        )
    return files[level]


def _siblings(path: Path) -> dict[str, Path]:
    """Return the files of one model in a directory by level."""
    name = model_name(path)
    files = (each for each in path.parent.glob("*.gguf") if model_name(each) == name)
    return {level: each for each in files if (level := level_in_name(each))}
