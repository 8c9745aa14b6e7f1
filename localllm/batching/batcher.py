"""The loop of the engine's thread: each tick decodes a batch and draws a token for every answer that can."""

from __future__ import annotations

import time
from collections.abc import Sequence

from localllm.batching.answer import Answer
from localllm.batching.job import Job
from localllm.batching.line import Line
from localllm.batching.planning import Part, Planner
from localllm.batching.requests import Delta
from localllm.batching.slots import Slots
from localllm.batching.totals import Totals
from localllm.errors import GenerationError, LocalLLMError
from localllm.native.context import Context, InterruptedDecodeError
from localllm.native.model import Model

_RECENT = 0.1  # weight of the last request in the average


class Batcher:
    """Works on the jobs of `line` in the `slots` of `context`, which holds `cells` tokens; for one thread."""

    def __init__(
        self, model: Model, context: Context, slots: Slots, line: Line, cells: int, totals: Totals
    ) -> None:
        self._model = model
        self._context = context
        self._slots = slots
        self._line = line
        self._cells = cells
        self._totals = totals
        self.job_seconds = 1.0  # what a finished request takes on the average, of late
        self._planner = Planner(
            context.batch_size, alone=len(slots) == 1, can_break_off=not model.is_recurrent
        )

    @property
    def is_busy(self) -> bool:
        """Whether an answer has not ended."""
        return bool(self._slots.answers)

    @property
    def busy_slots(self) -> int:
        """Return how many answers are being given."""
        return len(self._slots.answers)

    @property
    def free_slots(self) -> int:
        """Return how many answers could begin at once."""
        return len(self._slots) - self.busy_slots

    def tick(self) -> None:
        """Drop what was cancelled, begin what can begin, decode one batch and tell what came of it.

        `Context.interrupt` ends it early, and nothing has come of it then.
        """
        for job in {answer.job for answer in self._slots.answers if answer.job.ticket.is_over}:
            self._drop(job)
        self._begin_answers()
        parts = self._planner.plan(self._slots.answers)
        if parts:
            self._advance(parts)

    def make_way(self, job: Job) -> None:
        """Break off a batch that gives way, if that helps the new `job`; called from any thread."""
        if self._planner.makes_way_for(len(job.prompt)) and self.free_slots:
            self._context.interrupt()

    def fail_all(self, error: LocalLLMError) -> None:
        """End all that has begun."""
        for job in {answer.job for answer in self._slots.answers}:
            self._fail(job, error)

    # beginning ------------------------------------------------------------------------------

    def _begin_answers(self) -> None:
        while self._slots.free and (job := self._line.next()) and self._fits(job):
            self._begin(job)

    def _fits(self, job: Job) -> bool:
        """Tell whether what the answers may come to hold fits into the cache together."""
        return job.longest + sum(answer.job.longest for answer in self._slots.answers) <= self._cells

    def _begin(self, job: Job) -> None:
        index, settings = job.waiting.popleft()
        if not job.waiting:
            self._line.leave(job)
        slot = self._slots.take_empty() if job.reader else self._slots.take(job.prompt)
        try:
            answer = Answer(job, index, settings, self._model, slot)
        except LocalLLMError as error:
            self._fail(job, error)
            return
        slot.answer = answer
        job.running.append(answer)
        if job.cached_tokens is None:
            job.cached_tokens = len(slot.tokens)
            self._totals.prompt_tokens += len(job.prompt)
            self._totals.cached_tokens += len(slot.tokens)
        if answer.leader is None:
            job.reader = answer

    # decoding -------------------------------------------------------------------------------

    def _advance(self, parts: Sequence[Part]) -> None:
        """Decode a batch and draw from it; when it fails, find out whose fault it is."""
        started = time.perf_counter()
        try:
            done = self._context.decode_pieces([piece for _, piece in parts])
        except InterruptedDecodeError:
            self._break_off(parts)
            return
        except GenerationError as error:
            self._advance_one_by_one(parts, error)
            return
        if not done:
            self._advance_with_more_room(parts)
            return
        seconds = time.perf_counter() - started
        tokens = sum(len(piece.tokens) for _, piece in parts)
        self._planner.note_decoded(tokens, seconds)
        self._totals.decode_calls += 1
        self._totals.decode_seconds += seconds
        self._speak(parts)

    def _break_off(self, parts: Sequence[Part]) -> None:
        """Bring the cache back to what it held before a batch that was interrupted."""
        self._planner.note_broken_off()
        for answer, _ in parts:
            self._slots.repair(answer.slot)

    def _advance_one_by_one(self, parts: Sequence[Part], error: GenerationError) -> None:
        """Go on after a failure with those who are well without the others."""
        for answer, _ in parts:
            if not self._slots.repair(answer.slot):
                self._fail(answer.job, error)
        for part in parts:
            if len(parts) == 1:
                self._fail(part[0].job, error)
            elif part[0].slot.answer is part[0]:
                self._advance([part])

    def _advance_with_more_room(self, parts: Sequence[Part]) -> None:
        """Make room in the cache at the cost of what nobody needs now, else of the latest: it reads again."""
        left = list(parts)
        if not self._slots.clear_free():
            latest, _ = left.pop(max(range(len(left)), key=lambda at: left[at][0].job.number))
            if not left:
                self._fail(latest.job, GenerationError("the context is full"))
                return
            latest.begin_again()
            self._slots.clear(latest.slot)
        self._advance(left)

    # speaking -------------------------------------------------------------------------------

    def _speak(self, parts: Sequence[Part]) -> None:
        """Draw a token for each answer whose last token was decoded, then tell all that is new."""
        row = -1
        news: list[tuple[Job, Delta]] = []
        for answer, piece in parts:
            row += len(piece.tokens)
            answer.slot.tokens += piece.tokens
            if answer.is_reading:
                continue
            speakers = [answer]
            if answer.job.reader is answer:
                speakers += self._followers(answer)
            for speaker in speakers:
                self._draw(speaker, row, news)
        for job, delta in news:
            job.ticket.send(delta)

    def _followers(self, leader: Answer) -> list[Answer]:
        """Give the answers that wait for `leader` the prompt it has read; return them."""
        leader.job.reader = None
        followers = [answer for answer in leader.job.running if answer.leader is leader]
        for answer in followers:
            self._slots.copy(leader.slot, answer.slot, len(leader.slot.tokens))
            answer.leader = None
        return followers

    def _draw(self, answer: Answer, row: int, news: list[tuple[Job, Delta]]) -> None:
        job = answer.job
        if answer.slot.answer is not answer:
            return  # its request failed meanwhile
        try:
            delta = answer.take(self._context, row)
        except LocalLLMError as error:
            self._fail(job, error)
            return
        self._totals.completion_tokens += 1
        if answer.has_ended:
            self._end(answer)
        if delta is None:
            return
        if job.is_done:
            self._totals.finished_requests += 1
            self.job_seconds += _RECENT * (job.age_seconds - self.job_seconds)
            delta = Delta(delta.index, delta.text, delta.choices, delta.finish_reason, job.usage())
        news.append((job, delta))

    # ending ---------------------------------------------------------------------------------

    def _end(self, answer: Answer) -> None:
        """Free an answer's slot."""
        answer.close()
        answer.job.running.remove(answer)
        self._slots.give_back(answer.slot)

    def _drop(self, job: Job) -> None:
        """Free all slots of a request and forget it."""
        self._line.leave(job)
        job.waiting.clear()
        for answer in list(job.running):
            self._end(answer)

    def _fail(self, job: Job, error: LocalLLMError) -> None:
        if not job.ticket.is_over:
            self._totals.failed_requests += 1
        self._drop(job)
        job.ticket.fail(error)
