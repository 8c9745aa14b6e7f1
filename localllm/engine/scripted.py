"""An engine that says what it is told to: for tests and for trying out what is built on engines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from localllm.engine.base import Engine, Messages, Setting, Source, StateInfo
from localllm.engine.chunks import Chunk, FinishReason, Statistics
from localllm.engine.defaults import DEFAULTS, effective
from localllm.engine.options import SamplingOptions
from localllm.engine.stopping import StopFilter
from localllm.errors import GenerationError, StateError


class ScriptedEngine(Engine):
    """Answers with `answers` in turn, word by word; a word is `tokens_per_word` tokens.

    `seen` keeps every request and `asked` its options; several answers are the next ones of the script. Like
    a real engine it refuses what does not fit into `context_size` tokens, grows up to `training_context`,
    and remembers what it has read, also in a state file.
    """

    def __init__(
        self,
        answers: Sequence[str],
        *,
        context_size: int = 4096,
        tokens_per_word: int = 1,
        training_context: int | None = None,
        name: str = "scripted",
        has_template: bool = True,
        can_keep_state: bool = True,
        opens_reasoning: bool = False,
    ) -> None:
        self.name = name
        self._context_size = context_size
        self.training_context = training_context or context_size
        self.has_template = has_template
        self.can_keep_state = can_keep_state
        self.seen: list[list[dict[str, str]]] = []
        self.asked: list[SamplingOptions] = []
        self.closed = False
        self._answers = list(answers)
        self._next = 0
        self._tokens_per_word = tokens_per_word
        self._held: list[str] = []
        self._interrupted = False
        self._opens_reasoning = opens_reasoning

    @property
    def context_size(self) -> int:
        return self._context_size

    @property
    def opens_reasoning(self) -> bool:
        return self._opens_reasoning

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.name} {self._tokens_per_word}".encode()).hexdigest()

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        prompt = _words(messages)
        room = (self.context_size - self._tokens(prompt)) // self._tokens_per_word
        if room < 1:
            raise GenerationError(
                f"the conversation takes {self._tokens(prompt)} tokens, "
                f"but the context holds {self.context_size}"
            )
        self.seen.append([{"role": str(m["role"]), "content": str(m["content"])} for m in messages])
        self.asked.append(options)
        self._interrupted = False
        wanted = -(-(options.max_tokens or room * self._tokens_per_word) // self._tokens_per_word)
        return self._speak(prompt, min(room, wanted), options)

    def count_tokens(self, messages: Messages) -> int:
        return self._tokens(_words(messages))

    def count_text(self, text: str) -> int:
        return self._tokens(text.split())

    def effective(self, options: SamplingOptions) -> dict[str, Setting]:
        return effective(options, {name: Setting(value, Source.DEFAULT) for name, value in DEFAULTS.items()})

    def interrupt(self) -> None:
        self._interrupted = True

    def save_state(self, path: Path) -> StateInfo:
        if not self.can_keep_state:
            raise StateError("this model cannot keep its state")
        path.write_text(json.dumps({"fingerprint": self.fingerprint, "words": self._held}), "utf-8")
        return StateInfo(self._tokens(self._held), path.stat().st_size)

    def load_state(self, path: Path) -> int:
        self._held = []
        try:
            saved = json.loads(path.read_bytes())
            fingerprint, words = saved["fingerprint"], [str(word) for word in saved["words"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise StateError(f"{path.name} is not a saved state") from None
        if fingerprint != self.fingerprint:
            raise StateError(f"{path.name} belongs to another model or other settings")
        if self._tokens(words) > self.context_size:
            raise StateError(f"{path.name} holds more than the context of {self.context_size} tokens")
        self._held = words
        return self._tokens(words)

    def grow(self, context_size: int) -> bool:
        if context_size > self.training_context:
            return False
        self._context_size = max(self.context_size, context_size)
        return True

    def close(self) -> None:
        self.closed = True

    def _speak(self, prompt: list[str], limit: int, options: SamplingOptions) -> Iterator[Chunk]:
        cached = _common_length(self._held, prompt[:-1])
        self._held = list(prompt)
        speakers = [_Speaker(index, self._take(), limit, options.stop) for index in range(options.n)]
        while any(speaker.reason is None for speaker in speakers):
            for speaker in speakers:
                if speaker.reason is None:
                    text = speaker.speak()
                    if self._interrupted:
                        speaker.reason = FinishReason.INTERRUPTED
                    yield from [Chunk(text, speaker.index)] if text else []
        self._held += speakers[0].words[: speakers[0].said]
        said = sum(speaker.said for speaker in speakers) * self._tokens_per_word
        read, known = self._tokens(prompt), self._tokens(prompt[:cached])
        statistics = Statistics(read, known, said, 0.0, 0.0, options.n)
        for speaker in speakers:
            last = speaker is speakers[-1]
            yield Chunk(speaker.flush(), speaker.index, speaker.reason, statistics if last else None)

    def _take(self) -> str:
        answer = self._answers[self._next % len(self._answers)]
        self._next += 1
        return answer

    def _tokens(self, words: Sequence[str]) -> int:
        return len(words) * self._tokens_per_word


class _Speaker:
    """One answer on its way out; `reason` is set when it has ended."""

    def __init__(self, index: int, answer: str, limit: int, stop: Sequence[str]) -> None:
        self.index = index
        self.words = answer.split(" ")
        self.said = 0
        self.reason: FinishReason | None = None
        self._limit = limit
        self._stops = StopFilter(stop)

    def speak(self) -> str:
        """Return the next word, or what is certain of it."""
        word = self.words[self.said]
        text = self._stops.feed(word if self.said == 0 else " " + word)
        self.said += 1
        if self._stops.stopped or self.said == len(self.words):
            self.reason = FinishReason.STOP
        elif self.said >= self._limit:
            self.reason = FinishReason.LENGTH
        return text

    def flush(self) -> str:
        return self._stops.flush()


def _words(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [word for message in messages for word in str(message["content"]).split()]


def _common_length(left: Sequence[str], right: Sequence[str]) -> int:
    pairs = zip(left, right, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
