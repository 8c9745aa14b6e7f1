"""One answer in its slot: reads the prompt or waits for another that does, then speaks token by token."""

from __future__ import annotations

from localllm.batching.job import Job
from localllm.batching.probabilities import choice_of
from localllm.batching.requests import Delta, TokenChoice
from localllm.batching.slots import Slot
from localllm.engine.answer_text import AnswerText
from localllm.native.context import Context
from localllm.native.model import Model
from localllm.native.sampler import Sampler, SamplerSettings


class Answer:
    """Answer number `index` of `job`; close it to free its sampler. Raise UsageError for a broken grammar.

    When another one of the same job is reading the prompt, it is the `leader` of this one.
    """

    def __init__(self, job: Job, index: int, settings: SamplerSettings, model: Model, slot: Slot) -> None:
        self.job = job
        self.index = index
        self.slot = slot
        self.prompt = job.prompt
        self.leader = job.reader
        self.token = -1  # the last one, not decoded yet
        self._model = model
        self._text = AnswerText(model, job.stops, job.limit, job.named)
        self._choices: list[tuple[int, TokenChoice]] = []  # where each begins in the text
        self._sampler = Sampler(settings, model)

    @property
    def is_reading(self) -> bool:
        """Whether a part of the prompt is still to be read."""
        return self.leader is None and self.unread > 0

    @property
    def is_speaking(self) -> bool:
        """Whether its next token is to be decoded."""
        return self.leader is None and self.unread <= 0

    @property
    def unread(self) -> int:
        """Return how many tokens of the prompt the slot does not hold."""
        return len(self.prompt) - len(self.slot.tokens)

    @property
    def has_ended(self) -> bool:
        """Whether its last token was drawn."""
        return self._text.reason is not None

    def take(self, context: Context, row: int) -> Delta | None:
        """Draw a token from the logits in `row`; return what can be told of it, None for nothing.

        Raise GenerationError when the grammar allows no token.
        """
        self.token = self._sampler.sample(context, row)
        self.job.completion_tokens += 1
        self.job.note_first_token()
        begins = self._text.received
        text = self._text.take(self.token)
        if self.job.logprobs is not None and self._model.ordinary_piece(self.token) is not None:
            logits = context.logits_at(row)
            self._choices.append((begins, choice_of(self.token, logits, self.job.logprobs, self._model)))
        if self.has_ended:
            text += self._text.rest()
        choices = self._told()
        if not text and not choices and not self.has_ended:
            return None
        return Delta(self.index, text, choices, self._text.reason)

    def begin_again(self) -> None:
        """Prepare for the slot to be emptied: what was said is read again, then it goes on."""
        if self.is_speaking:
            self.prompt = [*self.slot.tokens, self.token]

    def close(self) -> None:
        """Free the sampler."""
        self._sampler.close()

    def _told(self) -> tuple[TokenChoice, ...]:
        """Return the choices whose text, or the beginning of it, was shown; forget them."""
        if not self._choices:
            return ()
        if self.has_ended and not self._text.is_cut:
            told = len(self._choices)
        else:
            told = sum(begins < self._text.shown for begins, _ in self._choices)
        choices = tuple(choice for _, choice in self._choices[:told])
        del self._choices[:told]
        return choices
