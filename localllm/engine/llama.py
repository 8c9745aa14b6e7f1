"""The engine that runs a GGUF file with llama.cpp.

The attention cache is kept between calls: a conversation that grows is not read again, only what is
new since the longest common beginning.
"""

from __future__ import annotations

import codecs
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localllm.chat_template import ChatTemplate, plain_prompt
from localllm.engine.base import Engine, Messages
from localllm.engine.chunks import Chunk, FinishReason, Statistics
from localllm.engine.options import (
    DEFAULT_MIN_P,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_K,
    DEFAULT_TOP_P,
    MAX_SEED,
    SamplingOptions,
)
from localllm.engine.stopping import StopFilter
from localllm.errors import GenerationError
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import require_loadable
from localllm.machine import usable_cores
from localllm.native.context import Context, InterruptedDecodeError
from localllm.native.model import Model
from localllm.native.sampler import Sampler, SamplerSettings

DEFAULT_CONTEXT = 8192
_PROMPT_BATCH = 512

# sampling option -> where the file may recommend a value
_RECOMMENDATIONS = {
    "temperature": ("general.sampling.temp", 0.0, 2.0),
    "top_p": ("general.sampling.top_p", 0.0, 1.0),
    "min_p": ("general.sampling.min_p", 0.0, 1.0),
    "top_k": ("general.sampling.top_k", 0, 2**31 - 1),
    "repeat_penalty": ("general.sampling.penalty_repeat", 0.01, 10.0),
}
_DEFAULTS: dict[str, Any] = {
    "temperature": DEFAULT_TEMPERATURE,
    "top_p": DEFAULT_TOP_P,
    "min_p": DEFAULT_MIN_P,
    "top_k": DEFAULT_TOP_K,
    "repeat_penalty": 1.0,
}


class LlamaEngine(Engine):
    """Runs one GGUF file. `context_size` is in tokens; None chooses up to 8192."""

    def __init__(self, path: Path, *, context_size: int | None = None, threads: int | None = None) -> None:
        header = read_header(path)
        require_loadable(header, str(path))
        self._defaults = {**_DEFAULTS, **_recommended(header)}
        self._model = Model(path)
        try:
            self._context = Context(
                self._model,
                context_size=context_size or min(self._model.training_context, DEFAULT_CONTEXT),
                threads=threads or usable_cores(),
                batch_size=_PROMPT_BATCH,
            )
            self._template = self._compile_template(header)
        except BaseException:
            self.close()
            raise
        self.name = header.text(Key.NAME) or path.stem
        self.context_size = self._context.size
        self.has_template = self._template is not None
        self._cached: list[int] = []
        self._interrupted = False

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        options = options.over(self._defaults)
        prompt = self._tokenize(messages)
        limit = self._answer_limit(len(prompt), options)
        self._interrupted = False
        sampler = Sampler(_settings(options), self._model.vocabulary_size)
        try:
            yield from self._generate(prompt, sampler, options, limit)
        finally:
            sampler.close()

    def count_tokens(self, messages: Messages) -> int:
        return len(self._tokenize(messages))

    def interrupt(self) -> None:
        self._interrupted = True
        self._context.interrupt()

    def close(self) -> None:
        if hasattr(self, "_context"):
            self._context.close()
        self._model.close()

    # prompt ---------------------------------------------------------------------------------

    def _compile_template(self, header: GGUFHeader) -> ChatTemplate | None:
        source = header.text(Key.CHAT_TEMPLATE)
        if not source:
            return None
        return ChatTemplate(source, bos=self._text_of(self._model.bos), eos=self._text_of(self._model.eos))

    def _text_of(self, token: int) -> str:
        if not 0 <= token < self._model.vocabulary_size:
            return ""
        return self._model.piece(token, special=True).decode("utf-8", "replace")

    def _tokenize(self, messages: Messages) -> list[int]:
        if not messages:
            raise GenerationError("there is nothing to answer")
        text = plain_prompt(messages) if self._template is None else self._template.render(messages)
        bos = self._text_of(self._model.bos)
        begins_with_bos = bool(bos) and text.startswith(bos)
        tokens = self._model.tokenize(text, add_special=not begins_with_bos, parse_special=True)
        if not tokens:
            raise GenerationError("the prompt is empty")
        return tokens

    def _answer_limit(self, prompt_tokens: int, options: SamplingOptions) -> int:
        room = self.context_size - prompt_tokens
        if room < 1:
            raise GenerationError(
                f"the conversation takes {prompt_tokens} tokens, but the context holds {self.context_size}",
                hint="start a new conversation or choose a larger `--context`",
            )
        return min(room, options.max_tokens or room)

    # generation -----------------------------------------------------------------------------

    def _generate(
        self, prompt: list[int], sampler: Sampler, options: SamplingOptions, limit: int
    ) -> Iterator[Chunk]:
        started = time.perf_counter()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        stops = StopFilter(options.stop)
        reason, count, first_at, cached = FinishReason.LENGTH, 0, started, 0
        try:
            cached = self._read_prompt(prompt)
            while count < limit:
                token = sampler.sample(self._context)
                count += 1
                first_at = time.perf_counter() if count == 1 else first_at
                if self._model.is_end(token):
                    reason = FinishReason.STOP
                    break
                text = stops.feed(decoder.decode(self._model.piece(token)))
                if text:
                    yield Chunk(text)
                if stops.stopped:
                    reason = FinishReason.STOP
                    break
                if self._interrupted:
                    raise InterruptedDecodeError
                if count < limit:
                    self._context.decode([token], start=len(self._cached))
                    self._cached.append(token)
        except InterruptedDecodeError:
            reason = FinishReason.INTERRUPTED
        rest = "" if stops.stopped else stops.feed(decoder.decode(b"", final=True)) + stops.flush()
        ended = time.perf_counter()
        first_seconds = (first_at if count else ended) - started
        statistics = Statistics(len(prompt), cached, count, first_seconds, ended - started - first_seconds)
        yield Chunk(rest, reason, statistics)

    def _read_prompt(self, prompt: list[int]) -> int:
        """Bring the cache to hold exactly `prompt`; return how many tokens it already had."""
        common = _common_length(self._cached, prompt[:-1])
        if common < len(self._cached) and not self._context.forget_from(common):
            self._context.clear()
            common = 0
        del self._cached[common:]
        for start in range(common, len(prompt), _PROMPT_BATCH):
            batch = prompt[start : start + _PROMPT_BATCH]
            self._context.decode(batch, start=start)
            self._cached += batch
            if self._interrupted:
                raise InterruptedDecodeError
        return common


def _common_length(left: list[int], right: list[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def _recommended(header: GGUFHeader) -> dict[str, Any]:
    """Read the file's own sampling defaults, ignoring values out of range."""
    found: dict[str, Any] = {}
    for name, (key, low, high) in _RECOMMENDATIONS.items():
        value = header.number(key)
        if value is not None and low <= value <= high:
            found[name] = int(value) if name == "top_k" else value
    return found


def _settings(options: SamplingOptions) -> SamplerSettings:
    """Return the sampler's settings; every optional value was filled by `SamplingOptions.over`."""
    values = {name: getattr(options, name) for name in _DEFAULTS}
    seed = random.randrange(MAX_SEED) if options.seed is None else options.seed
    return SamplerSettings(
        **values,
        frequency_penalty=options.frequency_penalty,
        presence_penalty=options.presence_penalty,
        seed=seed,
    )
