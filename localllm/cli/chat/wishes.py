"""What the command line asks of a chat, and what that means: checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from localllm import sessions
from localllm.chat_template.named import find_template
from localllm.chatting import Memory
from localllm.cli.chat.answer_view import Think
from localllm.cli.chat.remote import NO_SERVER, Server, server_of
from localllm.cli.chat.sampling import sampling_options
from localllm.conversation import Overflow
from localllm.engine import EngineOptions, SamplingOptions
from localllm.errors import UsageError
from localllm.personas import system_prompt
from localllm.remote.address import is_remote
from localllm.store import DEMO

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for, as it was written; `sampling` by the names of SamplingOptions."""

    model: str | None = None
    prompt: str | None = None
    system: str | None = None
    persona: str | None = None
    continues: bool = False
    session: str | None = None
    no_save: bool = False
    overflow: str = Overflow.COMPACT
    context: str = "auto"
    threads: int | None = None
    gpu_layers: str = "auto"
    cache_type: str = "f16"
    flash_attention: str = "auto"
    lora: Sequence[str] = ()
    template: str | None = None
    api_base: str | None = None
    api_model: str | None = None
    api_key_env: str | None = None
    sampling: Mapping[str, str | Sequence[str] | None] = field(default_factory=dict)
    markdown: bool = False
    think: str = Think.DIM


@dataclass(frozen=True)
class Plan:
    """What is to be done; `memory` is open. `is_resumed` tells that the model is the session's own.

    `server` is the one that `model` is on, if it is on one.
    """

    model: str
    prompt: str | None
    memory: Memory
    is_resumed: bool
    system: str | None
    persona: str | None
    overflow: Overflow
    sampling: SamplingOptions
    engine: EngineOptions
    markdown: bool
    think: Think
    server: Server = NO_SERVER


def planned(wishes: Wishes) -> Plan:
    """Find out what `wishes` mean and open the session.

    Raise UsageError for what is out of range or contradictory, NotFoundError, SessionError.
    """
    sampling, engine = sampling_options(wishes.sampling), engine_options(wishes)
    overflow = _choice("overflow", wishes.overflow, Overflow)
    think = _choice("think", wishes.think, Think)
    system = system_prompt(wishes.system, wishes.persona)
    memory = _memory(wishes)
    own = memory.saved.model if memory else ""
    model, prompt = _model_and_prompt(wishes, own)
    server = NO_SERVER
    if wishes.api_base or wishes.api_model or wishes.api_key_env or is_remote(model):
        server = server_of(wishes, own)
        model, prompt = server.model, server.prompt
    return Plan(
        model=model,
        prompt=prompt,
        memory=memory,
        is_resumed=bool(own) and model == own,
        system=system,
        persona=wishes.persona,
        overflow=overflow,
        sampling=sampling,
        engine=engine,
        markdown=wishes.markdown,
        think=think,
        server=server,
    )


def _memory(wishes: Wishes) -> Memory:
    chosen = [
        flag
        for flag, is_given in (
            ("--continue", wishes.continues),
            ("--session", wishes.session is not None),
            ("--no-save", wishes.no_save),
        )
        if is_given
    ]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} contradict each other", hint="give one of them")
    if wishes.no_save:
        return None
    if wishes.continues:
        return sessions.last()
    if wishes.session is not None:
        return sessions.open_session(wishes.session)
    return sessions.begin("")


def _model_and_prompt(wishes: Wishes, own: str) -> tuple[str, str | None]:
    """Return the model and the PROMPT: a session has a model, so that a sentence in its place is a PROMPT."""
    given = wishes.model
    if own and given is not None and wishes.prompt is None and _is_sentence(given):
        return own, given
    return given or own or DEMO, wishes.prompt


def _is_sentence(text: str) -> bool:
    return any(character.isspace() for character in text.strip()) and not Path(text).expanduser().exists()


def engine_options(wishes: Wishes) -> EngineOptions:
    """Return how a model is to be run. Raise UsageError, NotFoundError for a template."""
    keys, _, values = wishes.cache_type.lower().partition(",")
    return EngineOptions(
        context=None if wishes.context == "auto" else _whole("context", wishes.context, "auto"),
        threads=wishes.threads,
        gpu_layers=wishes.gpu_layers
        if wishes.gpu_layers in ("auto", "all")
        else _whole("gpu_layers", wishes.gpu_layers, "auto, all"),
        cache_type_k=keys,
        cache_type_v=values or keys,
        flash_attention=wishes.flash_attention,
        adapters=tuple(_adapter(text) for text in wishes.lora),
        template=None if wishes.template is None else find_template(wishes.template),
    )


def _whole(name: str, text: str, words: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name} must be {words} or a whole number, not `{text}`") from None


def _adapter(text: str) -> tuple[Path, float]:
    """Read `FILE` or `FILE:SCALE`; a drive letter's colon is part of the path."""
    path, colon, scale = text.rpartition(":")
    with suppress(ValueError):
        if colon:
            return Path(path).expanduser(), float(scale)
    return Path(text).expanduser(), 1.0


def _choice(name: str, text: str, choices: type[Choice]) -> Choice:
    try:
        return choices(text)
    except ValueError:
        raise UsageError(f"{name} must be one of {', '.join(choices)}, not `{text}`") from None
