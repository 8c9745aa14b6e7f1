"""A chat with a model on a server: what the command line says of it, and the key, which is kept nowhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localllm.engine import Engine
from localllm.errors import UsageError
from localllm.events import Emit
from localllm.remote.address import RemoteModel, api_base, is_remote

if TYPE_CHECKING:
    from localllm.cli.chat.wishes import Wishes

# what is for models on this machine, and its value when nobody asked for anything
_LOCAL = {
    "threads": None,
    "gpu_layers": "auto",
    "cache_type": "f16",
    "flash_attention": "auto",
    "lora": (),
    "template": None,
}


@dataclass(frozen=True)
class Server:
    """The model of a server that a chat begins with, and what is asked of it.

    The key is for the server at `base` and is sent to no other one; it shows up in no text.
    """

    model: str = ""
    prompt: str | None = None
    base: str = ""
    key: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.model!r})"

    def engine(self, reference: str, *, context_size: int | None, emit: Emit) -> Engine:
        """Return an engine for a model of a server. Raise OfflineError, UsageError."""
        from localllm.remote.engine import RemoteEngine

        model = RemoteModel.parse(reference)
        key = self.key if model.base == self.base else None
        return RemoteEngine(model, key=key, context_size=context_size, emit=emit)


NO_SERVER = Server()


def server_of(wishes: Wishes, own: str) -> Server:
    """Return which server and model the command line means; `own` is the session's model.

    Raise UsageError for what makes no sense there, OfflineError, NotFoundError.
    """
    if wishes.api_base is not None and wishes.model is not None and wishes.prompt is not None:
        raise UsageError(
            "with `--api-base` there is no MODEL, only a PROMPT", hint="`--model NAME` names the model"
        )
    given = wishes.model if wishes.model is not None and is_remote(wishes.model) else own
    known = RemoteModel.parse(given) if is_remote(given) else None
    if wishes.api_base is None and known is None:
        raise UsageError(
            "`--model` and `--api-key-env` are for a model on a server", hint="`--api-base URL` names it"
        )
    for name, default in _LOCAL.items():
        if getattr(wishes, name) not in (default, []):
            flag = name.replace("_", "-")
            raise UsageError(f"`--{flag}` is for models on this machine", hint="leave it out")
    key = _key(wishes.api_key_env)
    base = known.base if wishes.api_base is None and known else api_base(wishes.api_base or "")
    is_same = known is not None and known.base == base
    name = wishes.api_model or (known.name if known and is_same else _only_model(base, key))
    prompt = wishes.prompt
    if wishes.model is not None and not is_remote(wishes.model):
        if prompt is not None:
            raise UsageError(
                f"`{wishes.model}` is not a model of the server", hint="`--model NAME` names one"
            )
        prompt = wishes.model
    return Server(str(RemoteModel(base, name)), prompt, base, key)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError(
            f"the environment variable `{variable[:80]}` holds no key", hint="`--api-key-env` takes its name"
        )
    return key


def _only_model(base: str, key: str | None) -> str:
    from localllm.remote.server import only_model

    return only_model(base, key)
