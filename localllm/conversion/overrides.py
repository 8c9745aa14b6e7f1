"""The file of `--metadata`: `general.*` keys that replace what the model card says.

A JSON object with llama.cpp's key names, as its own converter takes it: `{"general.author": "…"}`. Unlike
there, an unknown key or a value of the wrong type is an error, not ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localllm.checkpoint import read_json
from localllm.errors import LocalLLMError, NotFoundError, UsageError

_HINT = 'it should be a JSON object like {"general.author": "somebody"}'
_TEXTS = (
    "name",
    "author",
    "version",
    "organization",
    "finetune",
    "basename",
    "description",
    "quantized_by",
    "size_label",
    "license",
    "license.name",
    "license.link",
    "url",
    "doi",
    "uuid",
    "repo_url",
    "source.url",
    "source.doi",
    "source.uuid",
    "source.repo_url",
)
_LISTS = ("tags", "languages")
_MODELS = ("base_models", "datasets")  # each a list of objects with texts: name, organization, repo_url …
_PARTS = ("name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url")
_WHOLE, _REAL = (int,), (int, float)
_SAMPLING: dict[str, tuple[type, ...]] = {
    "sequence": (str,),
    "top_k": _WHOLE,
    "top_p": _REAL,
    "min_p": _REAL,
    "xtc_probability": _REAL,
    "xtc_threshold": _REAL,
    "temp": _REAL,
    "penalty_last_n": _WHOLE,
    "penalty_repeat": _REAL,
    "mirostat": _WHOLE,
    "mirostat_tau": _REAL,
    "mirostat_eta": _REAL,
}
_CHECKS: dict[str, Any] = {
    **{f"general.{name}": lambda value: isinstance(value, str) for name in _TEXTS},
    **{f"general.{name}": lambda value: _is_list_of(value, str) for name in _LISTS},
    **{f"general.{name}": lambda value: _are_models(value) for name in _MODELS},
    **{
        f"general.sampling.{name}": lambda value, kinds=kinds: _is_one_of(value, kinds)
        for name, kinds in _SAMPLING.items()
    },
}


def read_overrides(path: Path) -> Mapping[str, Any]:
    """Return the keys of a metadata file, checked. Raise NotFoundError or UsageError with a hint."""
    if not path.is_file():
        raise NotFoundError(f"no such file: {path}", hint=_HINT)
    try:
        content = read_json(path)
    except LocalLLMError as error:
        raise UsageError(error.message, hint=_HINT) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not hold a JSON object", hint=_HINT)
    for key, value in content.items():
        if key not in _CHECKS:
            near = difflib.get_close_matches(key, _CHECKS, n=1)
            raise UsageError(
                f"{path}: `{key}` cannot be set",
                hint=f"did you mean `{near[0]}`?" if near else f"what can be set: {', '.join(_CHECKS)}",
            )
        if not _CHECKS[key](value):
            raise UsageError(f"{path}: `{key}` has a value of the wrong type: {value!r:.60}", hint=_HINT)
    return content


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _are_models(value: Any) -> bool:
    return _is_list_of(value, dict) and all(
        name in _PARTS and isinstance(text, str) for item in value for name, text in item.items()
    )
