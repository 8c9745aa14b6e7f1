"""The engine whose model runs on a server that speaks the Chat Completions API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from localllm.engine.base import Engine, Messages, Setting, Source, StateInfo
from localllm.engine.chunks import Chunk
from localllm.engine.defaults import DEFAULTS, effective
from localllm.engine.options import SamplingOptions
from localllm.errors import GenerationError, StateError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.remote.address import RemoteModel
from localllm.remote.answer import AnswerReader
from localllm.remote.connection import Connection, CutOffError, RefusedError, read_json
from localllm.remote.counting import TokenCounter
from localllm.remote.request import (
    given_extras,
    is_renamed,
    missing_extras,
    refused_field,
    request_body,
    without,
)
from localllm.remote.server import facts_of
from localllm.remote.sse import events

_UNKNOWN_CONTEXT = 10_000_000  # tokens; a server that holds less says so in time
_PATH = "/chat/completions"
_TRIES = 8  # a field less, or under another name, each time
_UNPROCESSABLE = (400, 422)


class RemoteEngine(Engine):
    """Asks a model on a server. `context_size` in tokens overrules what the server tells of its own.

    Raise OfflineError when the server cannot be reached.
    """

    def __init__(
        self,
        model: RemoteModel,
        *,
        key: str | None = None,
        context_size: int | None = None,
        emit: Emit = ignore,
    ) -> None:
        self._model = model
        self._emit = emit
        self._connection = Connection(model, key)
        self._counter = TokenCounter()
        self._told: set[str] = set()
        self._without: list[str] = []  # fields the server refused
        self._is_interrupted = False
        if key and not model.is_encrypted and not model.is_local:
            self._tell(f"the key for {model.host} goes over a connection that is not encrypted", "key")
        self._facts = facts_of(model, self._connection)
        size = context_size or self._facts.context_size
        self.knows_context = size is not None
        self._context_size = size or _UNKNOWN_CONTEXT
        self.name = model.name
        self.training_context = self._context_size
        self.has_template = True
        self.can_keep_state = False
        self.counts_exactly = False

    @property
    def context_size(self) -> int:
        return self._context_size

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(str(self._model).encode()).hexdigest()

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        if not messages:
            raise GenerationError("there is nothing to answer")
        body = request_body(self._model.name, messages, options, self._facts.extras)
        for field in self._without:
            body = without(body, field) if field in body else body
        self._tell_about_extras(options)
        self._is_interrupted = False
        self._connection.renew()
        return self._generate(body, messages, AnswerReader(self._model.host, options.n))

    def count_tokens(self, messages: Messages) -> int:
        return self._counter.messages(messages)

    def count_text(self, text: str) -> int:
        return self._counter.text(text)

    def effective(self, options: SamplingOptions) -> dict[str, Setting]:
        return effective(options, {name: Setting(None, Source.SERVER) for name in DEFAULTS})

    def interrupt(self) -> None:
        self._is_interrupted = True
        self._connection.cut()

    def save_state(self, path: Path) -> StateInfo:
        raise StateError("what a server has read cannot be kept here")

    def load_state(self, path: Path) -> int:
        raise StateError("a server reads a conversation anew")

    def grow(self, context_size: int) -> bool:
        return context_size <= self.context_size

    def close(self) -> None:
        self._connection.cut()

    # asking ----------------------------------------------------------------------------------

    def _generate(self, body: dict[str, Any], messages: Messages, reader: AnswerReader) -> Iterator[Chunk]:
        try:
            for chunk in self._asked(body, reader):
                yield chunk
                if self._is_interrupted:
                    break
        except CutOffError:
            pass
        if reader.prompt_tokens is not None:
            self._counter.learn(messages, reader.prompt_tokens)
        if not self._is_interrupted and not reader.is_complete:
            raise GenerationError(f"{self._model.host} broke off in the middle of its answer")
        yield from self._ended(reader, messages)

    def _ended(self, reader: AnswerReader, messages: Messages) -> Iterator[Chunk]:
        """Yield the last chunks, with the prompt's length estimated where the server does not tell it."""
        for chunk in reader.last_chunks():
            statistics = chunk.statistics
            if statistics is None:
                yield chunk
                continue
            wanted = reader.wanted
            if 0 < reader.answers < wanted and not self._is_interrupted:
                self._tell(f"{self._model.host} gave {reader.answers} of {wanted} answers", "n")
            if reader.prompt_tokens is None:
                statistics = replace(statistics, prompt_tokens=self._counter.messages(messages))
            yield replace(chunk, statistics=statistics)

    def _asked(self, body: dict[str, Any], reader: AnswerReader) -> Iterator[Chunk]:
        """Yield what the server says; a field that it does not know is left out the next time."""
        for _ in range(_TRIES):
            if self._is_interrupted:
                raise CutOffError
            try:
                with self._connection.post(_PATH, body) as response:
                    yield from self._read(response, reader)
                return
            except RefusedError as refusal:
                body = self._mended(body, refusal)
        raise GenerationError(f"{self._model.host} refuses one field of the request after another")

    def _read(self, response: httpx2.Response, reader: AnswerReader) -> Iterator[Chunk]:
        if response.headers.get("content-type", "").startswith("application/json"):
            answer = read_json(response)
            yield from reader.take(answer if isinstance(answer, dict) else {})
            return
        try:
            for event in events(response.iter_lines()):
                yield from reader.read(event)
        except ValueError as error:
            raise GenerationError(f"{self._model.host}: {error}") from None

    def _mended(self, body: Mapping[str, Any], refusal: RefusedError) -> dict[str, Any]:
        """Return the request without what the server does not know. Raise what the refusal means."""
        field = refused_field(refusal.reason, body) if refusal.status in _UNPROCESSABLE else None
        if field is None:
            raise self._error(refusal) from None
        self._without.append(field)
        if not is_renamed(field) and field != "stream_options":
            self._tell(f"{self._model.host} does not know `{field}`: it is left out", field)
        return without(body, field)

    def _error(self, refusal: RefusedError) -> GenerationError | UsageError:
        host = self._model.host
        if refusal.status == 401 or refusal.status == 403:
            return GenerationError(
                f"{host} does not let you in: {refusal.reason}",
                hint="`--api-key-env VARIABLE` names the environment variable that holds the key",
            )
        if refusal.status == 404:
            return GenerationError(
                f"{host} has no model `{self._model.name}`, or no such API: {refusal.reason}"
            )
        hint = "`--context N` tells how much it holds; then what is old is summarised in time"
        return GenerationError(
            f"{host} refuses: {refusal.reason}", hint=hint if "context" in refusal.reason.lower() else None
        )

    def _tell_about_extras(self, options: SamplingOptions) -> None:
        missing = missing_extras(options, self._facts.extras)
        if "grammar" in missing:
            raise UsageError(
                f"{self._model.host} takes no GBNF grammars", hint="`--json-schema` is part of the API"
            )
        for name in missing:
            self._tell(f"{self._model.host} has nothing like `{name}`: it is left out", name)
        given = [] if self._facts.knows_extras else given_extras(options)
        if given:
            names = ", ".join(f"`{name}`" for name in given)
            self._tell(
                f"{names} {'are' if len(given) > 1 else 'is'} no part of the Chat Completions API: "
                f"{self._model.host} may pass over {'them' if len(given) > 1 else 'it'}",
                "extras",
            )

    def _tell(self, message: str, topic: str) -> None:
        """Say something once."""
        if message not in self._told:
            self._told.add(message)
            self._emit(Notice(message, topic=f"remote-{topic}"))
