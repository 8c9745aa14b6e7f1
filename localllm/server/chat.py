"""`/v1/chat/completions`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from localllm.batching import TokenChoice, Usage
from localllm.server.chat_fields import ChatFields
from localllm.server.chat_plan import ChatPlan, plan_chat
from localllm.server.generation import Generation
from localllm.server.heading import Heading, usage_of
from localllm.server.probabilities import chat_logprobs
from localllm.server.serving import Body, Events, Serving

_CHUNK = "chat.completion.chunk"


async def chat(serving: Serving, body: Body, stack: AsyncExitStack) -> Body | Events:
    """Answer a chat request. Raise ApiError, LocalLLMError."""
    wish = ChatFields.read(body)
    wish.options()  # what is wrong without a model need not wait for one
    wish.tool_use()
    model = serving.catalogue.find(wish.model)
    engine = await stack.enter_async_context(serving.catalogue.use(model))
    plan = await asyncio.to_thread(plan_chat, engine, wish)
    generation = serving.generation(model, stack)
    await generation.begin(engine, plan.request)
    heading = Heading("chatcmpl", model.name, engine.fingerprint)
    if wish.stream:
        return _chunks(generation, plan, heading, includes_usage=wish.includes_usage)
    return await _completion(generation, plan, heading)


async def _completion(generation: Generation, plan: ChatPlan, heading: Heading) -> Body:
    replies = [plan.new_reply() for _ in range(plan.request.options.n)]
    reasons = ["stop"] * len(replies)
    tokens: list[list[TokenChoice]] = [[] for _ in replies]
    usages: list[Usage] = []
    async for _, delta in generation.deltas():
        replies[delta.index].feed(delta.text)
        tokens[delta.index] += delta.choices
        if delta.finish_reason is not None:
            replies[delta.index].finish()
            reasons[delta.index] = replies[delta.index].finish_reason(delta.finish_reason)
        if delta.usage is not None:
            usages.append(delta.usage)
    choices = [
        {
            "index": index,
            "message": reply.message(),
            "logprobs": _logprobs(plan, tokens[index]),
            "finish_reason": reasons[index],
        }
        for index, reply in enumerate(replies)
    ]
    return heading.over("chat.completion", choices=choices, usage=usage_of(usages))


async def _chunks(
    generation: Generation, plan: ChatPlan, heading: Heading, *, includes_usage: bool
) -> Events:
    replies = [plan.new_reply() for _ in range(plan.request.options.n)]
    waiting: list[list[TokenChoice]] = [[] for _ in replies]  # tokens whose text is held back
    usage = {"usage": None} if includes_usage else {}
    usages: list[Usage] = []

    def chunk(index: int, delta: Body, reason: str | None = None) -> Body:
        told, waiting[index] = waiting[index], []
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": _logprobs(plan, told) if told else None,
            "finish_reason": reason,
        }
        return heading.over(_CHUNK, choices=[choice], **usage)

    for index in range(len(replies)):
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
    async for _, delta in generation.deltas():
        reply = replies[delta.index]
        waiting[delta.index] += delta.choices
        for said in reply.feed(delta.text):
            yield chunk(delta.index, said)
        if delta.finish_reason is not None:
            for said in reply.finish():
                yield chunk(delta.index, said)
            yield chunk(delta.index, {}, reply.finish_reason(delta.finish_reason))
        if delta.usage is not None:
            usages.append(delta.usage)
    if includes_usage:
        yield heading.over(_CHUNK, choices=[], usage=usage_of(usages))


def _logprobs(plan: ChatPlan, choices: Iterable[TokenChoice]) -> dict[str, Any] | None:
    if plan.request.logprobs is None:
        return None
    return {"content": chat_logprobs(choices), "refusal": None}
