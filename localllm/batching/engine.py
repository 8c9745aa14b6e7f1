"""The engine that answers many requests at once: one model, one context, one thread that decodes.

Everything else may be called from any thread. Prompts are made and requests checked in the caller's thread,
so that the batch does not wait for them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localllm.batching.batcher import Batcher
from localllm.batching.described import Described
from localllm.batching.embedding import Embedder, pooling_of
from localllm.batching.job import Job
from localllm.batching.line import Line
from localllm.batching.loaded import load
from localllm.batching.requests import Embedding, GenerationRequest, Load
from localllm.batching.slots import Slots
from localllm.batching.ticket import Deliver, Fail, Ticket
from localllm.batching.totals import Totals
from localllm.batching.worker import Worker
from localllm.engine.constraints import Constraints
from localllm.engine.engine_options import EngineOptions
from localllm.engine.options import SamplingOptions
from localllm.engine.prompts import Prompt, Prompts
from localllm.engine.sampling import sampler_settings
from localllm.errors import GenerationError, PromptTooLongError, QueueFullError, UnavailableError, UsageError
from localllm.events import Emit, ignore
from localllm.native.sampler import SamplerSettings

MOST_PARALLEL = 256  # LLAMA_MAX_SEQ
_LONGEST_WAIT_SECONDS = 60


class BatchedEngine(Described):
    """Answers up to `parallel` requests at once from the GGUF file `path`; `queue` more may wait.

    `EngineOptions.context` is what one request may take, prompt and answer together. Use as a context
    manager or call `close`. `emit` is called from several threads. Raise InvalidGGUFError, ModelLoadError or
    GenerationError when the file cannot be run, UsageError for numbers out of range.
    """

    def __init__(
        self,
        path: Path,
        options: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
        *,
        parallel: int = 4,
        queue: int = 64,
        emit: Emit = ignore,
    ) -> None:
        if not 1 <= parallel <= MOST_PARALLEL:
            raise UsageError(f"parallel must be between 1 and {MOST_PARALLEL}, not {parallel}")
        if queue < 0:
            raise UsageError(f"queue must be at least 0, not {queue}")
        self.path = path
        self.parallel = parallel
        self._emit = emit
        super().__init__(load(path, options, parallel, emit))
        try:
            self._start(queue, emit)
        except BaseException:
            self._loaded.close()
            raise

    def _start(self, queue: int, emit: Emit) -> None:
        loaded = self._loaded
        self._prompts = Prompts(loaded.model, loaded.header, loaded.template, emit)
        self._constraints = Constraints(loaded.model, self._prompts, emit)
        self._making = threading.Lock()  # prompts
        self._checking = threading.Lock()  # grammars
        self._totals = Totals()
        self._changed = threading.Condition(threading.RLock())
        self._line = Line(queue, self._changed)
        self._embedder = self._make_embedder()
        self._worker: Worker | None = None
        if loaded.context is not None:
            slots = Slots(loaded.context, loaded.model, self.parallel)
            batcher = Batcher(
                loaded.model, loaded.context, slots, self._line, loaded.pool.cells, self._totals
            )
            self._worker = Worker(batcher, self._line, loaded.context, self._changed)

    # what it does ---------------------------------------------------------------------------

    @property
    def takes_tools(self) -> bool:
        """Whether the chat template tells the model about tools."""
        return self._prompts.takes_tools

    @property
    def can_generate(self) -> bool:
        """Whether it answers; a model that only embeds does not."""
        return self._worker is not None

    @property
    def load(self) -> Load:
        """Return what it is doing now, and its totals."""
        return Load(
            slots=self.parallel,
            busy_slots=self._worker.busy_slots if self._worker else 0,
            queued_requests=self._line.length,
            totals=self._totals + Totals(prompt_tokens=self._embedder.tokens if self._embedder else 0),
        )

    # prompts --------------------------------------------------------------------------------

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """Return the prompt the chat template makes; all of it is JSON-compatible.

        Raise GenerationError when the template rejects it.
        """
        with self._making:
            return self._prompts.prompt(messages, tools=tools, variables=variables)

    def text_prompt(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text that is a prompt as it is, with the control tokens it names."""
        return tuple(self._prompts.raw_tokens(text))

    def token_prompt(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens, if they are some. Raise UsageError."""
        if not tokens:
            raise GenerationError("the prompt is empty")
        wrong = next((token for token in tokens if not 0 <= token < self.vocabulary_size), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is not a token: this model's go from 0 to {self.vocabulary_size - 1}")
        return tuple(tokens)

    def embedding_prompt(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text to be embedded, with those the model wants around it."""
        return tuple(self._loaded.model.tokenize(text, add_special=True, parse_special=False))

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return what tokens stand for, control tokens by their names."""
        pieces = [self._loaded.model.piece(token, special=True) for token in self.token_prompt(tokens)]
        return b"".join(pieces).decode("utf-8", "replace")

    # answering ------------------------------------------------------------------------------

    def submit(self, request: GenerationRequest, deliver: Deliver, fail: Fail) -> Ticket:
        """Begin to answer, as soon as there is room; return what to cancel it with.

        `deliver` and `fail` are called on the engine's thread and must not block. After the delta with the
        usage, after `fail` and after cancelling nothing is called any more. Raise QueueFullError,
        UnavailableError, PromptTooLongError, UsageError; a new grammar takes a moment to be checked.
        """
        if self._worker is None:
            raise UsageError(f"{self.name} makes vectors of texts, it does not answer")
        prompt = self.token_prompt(request.prompt)
        if len(prompt) >= self.context_size:
            raise PromptTooLongError(
                f"the prompt takes {len(prompt)} tokens, but the context holds {self.context_size}",
                hint="shorten it, or serve the model with a larger `--context`",
            )
        settings = self._sampler_settings(request.options)
        named = frozenset(token for text in request.shown for token in self._control_token(text))
        ticket = Ticket(deliver, fail, self._emit)
        with self._changed:
            self._totals.requests += 1
            job = Job(self._totals.requests, request, settings, ticket, self.context_size, named)
            ticket.on_cancel(lambda: self._forget(job))
            try:
                self._line.put(job, self._worker.free_slots, self._retry_after)
            except UnavailableError as error:
                self._totals.refused_requests += isinstance(error, QueueFullError)
                raise
            self._worker.make_way(job)
        return ticket

    def embed(self, prompts: Sequence[Sequence[int]]) -> Embedding:
        """Return a vector for each prompt; blocks until they are computed.

        Raise PromptTooLongError, UsageError for a model that makes none.
        """
        if self._embedder is None:
            raise UsageError(f"{self.name} ranks texts, it does not make vectors of them")
        checked = [self.token_prompt(prompt) for prompt in prompts]
        longest = max(map(len, checked), default=0)
        if longest > self.context_size:
            raise PromptTooLongError(
                f"the text takes {longest} tokens, but the context holds {self.context_size}"
            )
        vectors = [vector.tolist() for vector in self._embedder.embed(checked)]
        return Embedding(vectors, sum(map(len, checked)))

    def close(self, grace_seconds: float = 0.0) -> None:
        """Free everything. What runs may go on for `grace_seconds`; the rest fails with UnavailableError."""
        if self._worker is not None:
            self._worker.stop(grace_seconds)
        if self._embedder is not None:
            self._embedder.close()
        self._loaded.close()

    def __enter__(self) -> BatchedEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sampler_settings(self, options: SamplingOptions) -> list[SamplerSettings]:
        """Return the settings of each answer; only those with a grammar wait for others that are checked."""
        is_free = options.grammar is None and options.json_schema is None
        with contextlib.nullcontext() if is_free else self._checking:
            return sampler_settings(options, self._loaded.settings, self._constraints)

    def _control_token(self, text: str) -> list[int]:
        """Return the one token that `text` names, or nothing."""
        tokens = self._loaded.model.tokenize(text, add_special=False, parse_special=True)
        return tokens if len(tokens) == 1 else []

    def _forget(self, job: Job) -> None:
        with self._changed:
            self._totals.cancelled_requests += 1
            self._line.leave(job)

    def _retry_after(self, waiting: int) -> int:
        """Estimate in how many seconds one of the `waiting` requests gets a slot."""
        seconds = self._worker.job_seconds * (waiting + 1) / self.parallel if self._worker else 0
        return max(1, min(_LONGEST_WAIT_SECONDS, round(seconds)))

    def _make_embedder(self) -> Embedder | None:
        pooling = pooling_of(self._loaded.header)
        if pooling is None:
            return None
        return Embedder(
            self._loaded.model,
            pooling,
            self.context_size,
            self._loaded.make_embedding_context,
            looks_ahead=self._loaded.looks_ahead,
        )
