"""The loop that makes answers: samples, decodes, holds back what may belong to a stop text, counts and times.

Several answers to one prompt are sequences of one context that share its cells; each step decodes one token
of each of them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from localllm.engine.answer_text import AnswerText
from localllm.engine.chunks import Chunk, FinishReason, Statistics
from localllm.engine.workspace import Workspace
from localllm.errors import GenerationError
from localllm.native.context import InterruptedDecodeError
from localllm.native.sampler import Sampler


class Voice:
    """One of the answers: its sampler and its text."""

    def __init__(self, index: int, sampler: Sampler, text: AnswerText) -> None:
        self.index = index
        self.text = text
        self.token = -1  # the last one, not decoded yet
        self.is_done = False  # the chunk with the reason is out
        self._sampler = sampler

    def take(self, workspace: Workspace, row: int) -> str:
        """Draw a token from the logits in `row` and return the text that can be shown."""
        if not workspace.context.is_open:
            raise GenerationError("the engine was closed in the middle of an answer")
        self.token = self._sampler.sample(workspace.context, row)
        return self.text.take(self.token)

    def close(self) -> None:
        """Free the sampler."""
        self._sampler.close()


class Generation:
    """Answers to one prompt. `make_room(tokens)` is asked when the cache is full; False: there is no more."""

    def __init__(
        self,
        workspace: Workspace,
        voices: Sequence[Voice],
        is_interrupted: Callable[[], bool],
        make_room: Callable[[int], bool],
    ) -> None:
        self._workspace = workspace
        self._voices = voices
        self._is_interrupted = is_interrupted
        self._make_room = make_room
        self._started = time.perf_counter()
        self._first_at: float | None = None

    def run(self, prompt: Sequence[int]) -> Iterator[Chunk]:
        """Read the prompt and yield the answers; the last chunks tell how they ended."""
        cached = 0
        try:
            cached = self._workspace.read(prompt, self._is_interrupted)
            self._workspace.fan_out(len(self._voices))
            yield from self._speak(len(prompt))
        except InterruptedDecodeError:
            pass
        finally:
            self._workspace.fan_in()
        yield from self._last_chunks(len(prompt), cached)

    def _speak(self, used: int) -> Iterator[Chunk]:
        """Yield the texts of all voices until the last has ended; the cache holds `used` tokens before."""
        rows = dict.fromkeys(range(len(self._voices)), -1)  # all begin with the prompt's last logits
        speaking = list(self._voices)
        position = used
        while True:
            for voice in speaking:
                text = voice.take(self._workspace, rows[voice.index])
                if self._first_at is None:
                    self._first_at = time.perf_counter()
                if voice.text.reason is not None and self._others_go_on(voice):
                    voice.is_done = True
                    yield Chunk(text + voice.text.rest(), voice.index, voice.text.reason)
                elif text:
                    yield Chunk(text, voice.index)
            speaking = [voice for voice in speaking if voice.text.reason is None]
            if not speaking:
                return
            if self._is_interrupted() or not self._workspace.context.is_open:
                raise InterruptedDecodeError
            used += len(speaking)
            if used + len(speaking) > self._workspace.size and not self._make_room(used + len(speaking)):
                for voice in speaking:
                    voice.text.reason = FinishReason.LENGTH
                return
            self._workspace.step([(voice.token, position, voice.index) for voice in speaking])
            rows = {voice.index: row for row, voice in enumerate(speaking)}
            position += 1

    def _others_go_on(self, voice: Voice) -> bool:
        return any(not other.is_done for other in self._voices if other is not voice)

    def _last_chunks(self, prompt_tokens: int, cached: int) -> Iterator[Chunk]:
        ended = time.perf_counter()
        first_at = self._first_at or ended
        statistics = Statistics(
            prompt_tokens=prompt_tokens,
            cached_tokens=cached,
            completion_tokens=sum(voice.text.count for voice in self._voices),
            time_to_first_token_seconds=first_at - self._started,
            generation_seconds=ended - first_at,
            answers=len(self._voices),
        )
        left = [voice for voice in self._voices if not voice.is_done]
        for voice in left:
            reason = voice.text.reason or FinishReason.INTERRUPTED
            is_last = voice is left[-1]
            yield Chunk(voice.text.rest(), voice.index, reason, statistics if is_last else None)
