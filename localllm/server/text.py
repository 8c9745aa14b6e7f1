"""`/v1/completions`, the API's older way: text in, text out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from localllm.batching import GenerationRequest, TokenChoice, Usage
from localllm.server.engines import Engine
from localllm.server.generation import Generation
from localllm.server.heading import Heading, usage_of
from localllm.server.probabilities import text_logprobs
from localllm.server.serving import Body, Events, Serving
from localllm.server.text_fields import TextFields

_OBJECT = "text_completion"


@dataclass(frozen=True)
class _Plan:
    """What is asked of the engine, a request for each prompt, and what each answer begins with."""

    wish: TextFields
    requests: Sequence[GenerationRequest]
    echoes: Sequence[str]

    def index(self, number: int, answer: int) -> int:
        return number * self.requests[number].options.n + answer


@dataclass
class _Answer:
    text: str
    choices: list[TokenChoice] = field(default_factory=list)
    reason: str = "stop"

    @property
    def quality(self) -> float:
        """The mean log-probability of its tokens, by which the best are chosen."""
        total = sum(choice.logprob for choice in self.choices)
        return total / len(self.choices) if self.choices else float("-inf")


async def complete(serving: Serving, body: Body, stack: AsyncExitStack) -> Body | Events:
    """Answer a request for a legacy completion. Raise ApiError, LocalLLMError."""
    wish = TextFields.read(body)
    wish.options()
    wish.prompts()
    model = serving.catalogue.find(wish.model)
    engine = await stack.enter_async_context(serving.catalogue.use(model))
    plan = await asyncio.to_thread(_planned, engine, wish)
    generation = serving.generation(model, stack)
    for number, request in enumerate(plan.requests):
        await generation.begin(engine, request, number)
    heading = Heading("cmpl", model.name, engine.fingerprint)
    return _chunks(generation, plan, heading) if wish.stream else await _completion(generation, plan, heading)


def _planned(engine: Engine, wish: TextFields) -> _Plan:
    options = wish.options()
    logprobs = 0 if wish.chooses and wish.logprobs is None else wish.logprobs
    prompts = wish.prompts()
    tokens = [
        engine.text_prompt(prompt) if isinstance(prompt, str) else engine.token_prompt(prompt)
        for prompt in prompts
    ]
    echoes = [
        "" if not wish.echo else prompt if isinstance(prompt, str) else engine.text_of(prompt)
        for prompt in prompts
    ]
    return _Plan(wish, [GenerationRequest(each, options, logprobs) for each in tokens], echoes)


async def _completion(generation: Generation, plan: _Plan, heading: Heading) -> Body:
    answers = [
        [_Answer(echo) for _ in range(request.options.n)]
        for request, echo in zip(plan.requests, plan.echoes, strict=True)
    ]
    usages: list[Usage] = []
    async for number, delta in generation.deltas():
        answer = answers[number][delta.index]
        answer.text += delta.text
        answer.choices += delta.choices
        answer.reason = delta.finish_reason or answer.reason
        if delta.usage is not None:
            usages.append(delta.usage)
    if plan.wish.chooses:
        answers = [sorted(made, key=lambda answer: -answer.quality)[: plan.wish.answers] for made in answers]
    told = [answer for made in answers for answer in made]
    choices = [
        {
            "index": index,
            "text": answer.text,
            "logprobs": None if plan.wish.logprobs is None else text_logprobs(answer.choices, 0),
            "finish_reason": answer.reason,
        }
        for index, answer in enumerate(told)
    ]
    return heading.over(_OBJECT, choices=choices, usage=usage_of(usages))


async def _chunks(generation: Generation, plan: _Plan, heading: Heading) -> Events:
    usage = {"usage": None} if plan.wish.includes_usage else {}
    usages: list[Usage] = []
    said: dict[int, int] = {}  # characters of each answer so far

    def chunk(index: int, text: str, tokens: Sequence[TokenChoice] = (), reason: str | None = None) -> Body:
        logprobs = None if plan.wish.logprobs is None else text_logprobs(tokens, said.get(index, 0))
        said[index] = said.get(index, 0) + len(text)
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return heading.over(_OBJECT, choices=[choice], **usage)

    for number, echo in enumerate(plan.echoes):
        for answer in range(plan.requests[number].options.n if echo else 0):
            yield chunk(plan.index(number, answer), echo)
    async for number, delta in generation.deltas():
        if delta.usage is not None:
            usages.append(delta.usage)
        if delta.text or delta.choices or delta.finish_reason is not None:
            index = plan.index(number, delta.index)
            yield chunk(index, delta.text, delta.choices, delta.finish_reason)
    if plan.wish.includes_usage:
        yield heading.over(_OBJECT, choices=[], usage=usage_of(usages))
