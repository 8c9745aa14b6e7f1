"""What a server tells of itself: which models there are, how large their context is, whose server it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localllm.errors import NotFoundError, UsageError
from localllm.remote.address import RemoteModel
from localllm.remote.connection import Connection

_CONTEXT_KEYS = ("max_model_len", "loaded_context_length", "context_length", "n_ctx")
_LARGEST_CONTEXT = 2**31 - 1
_MOST_NAMED = 12
# what a server's models are owned by → its names for what the API does not know
_NATIVE = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repeat_penalty", "grammar": "grammar"}
_EXTRAS: Mapping[str, Mapping[str, str]] = {
    "llamacpp": _NATIVE,
    "localllm": _NATIVE,
    "vllm": {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
}


@dataclass(frozen=True)
class ServerFacts:
    """What is known of a model on a server; `context_size` in tokens, None when the server does not tell.

    `extras` are its names for options that the Chat Completions API does not have, `knows_extras` tells that
    they are certain.
    """

    context_size: int | None
    extras: Mapping[str, str]
    knows_extras: bool


def facts_of(model: RemoteModel, connection: Connection) -> ServerFacts:
    """Ask a server about a model; many tell nothing. Raise OfflineError."""
    entry = next((each for each in _listed(model, connection) if each.get("id") == model.name), {})
    owner = str(entry.get("owned_by", "")).lower()
    size = _context_in(entry) or _context_in(entry.get("meta"))
    if owner == "llamacpp":
        size = size or _context_of_llama_server(model, connection)
    return ServerFacts(size, _EXTRAS.get(owner, _NATIVE), owner in _EXTRAS)


def only_model(base: str, key: str | None) -> str:
    """Return the name of the one model a server has.

    Raise UsageError for several, NotFoundError, OfflineError.
    """
    server = RemoteModel(base, "?")
    names = [str(each["id"]) for each in _listed(server, Connection(server, key)) if each.get("id")]
    if not names:
        raise NotFoundError(f"{server.host} names no models", hint="`--model NAME` names the one to ask")
    if len(names) > 1:
        shown = ", ".join(names[:_MOST_NAMED])
        raise UsageError(f"{server.host} has several models: {shown}", hint="choose one with `--model NAME`")
    return names[0]


def _listed(model: RemoteModel, connection: Connection) -> list[dict[str, Any]]:
    answer = connection.get(f"{model.base}/models")
    listed = answer.get("data") if isinstance(answer, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _context_of_llama_server(model: RemoteModel, connection: Connection) -> int | None:
    properties = connection.get(f"{model.root}/props")
    return (
        _context_in(properties.get("default_generation_settings")) if isinstance(properties, dict) else None
    )


def _context_in(entry: Any) -> int | None:
    if not isinstance(entry, dict):
        return None
    sizes = (entry.get(key) for key in _CONTEXT_KEYS)
    return next((size for size in sizes if type(size) is int and 0 < size <= _LARGEST_CONTEXT), None)
