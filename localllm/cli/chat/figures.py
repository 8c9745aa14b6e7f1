"""The figures of a conversation in words."""

from __future__ import annotations

from localllm.chatting import Chat, ContextUsage
from localllm.cli.chat.answering import Outcome
from localllm.engine import Engine, FinishReason
from localllm.units import format_seconds


def figures_line(outcome: Outcome, chat: Chat) -> str:
    """Return the line below an answer: tokens, speed, how full the context is, and why it ended early."""
    statistics = outcome.statistics
    if statistics is None:
        return ""
    usage = chat.usage()
    speed = statistics.generation_tokens_per_second
    parts = [
        f"{statistics.completion_tokens} tokens",
        *([f"{speed:.{0 if speed >= 10 else 1}f} tokens/s"] if speed > 0 else []),
        f"context {usage.tokens}/{usage.context_size or '?'}",
    ]
    reasons = {told.finish_reason for told in outcome.answers}
    ending = ""
    if FinishReason.INTERRUPTED in reasons:
        ending = " stopped"
    elif FinishReason.LENGTH in reasons:
        limit = chat.options.max_tokens
        is_limit = limit is not None and statistics.completion_tokens >= limit
        ending = f" cut at max-tokens {limit}" if is_limit else " cut: the context is full"
    return f"[{', '.join(parts)}]{ending}"


def size_in_words(engine: Engine) -> str:
    """Return how large a context is."""
    return f"context {engine.context_size} tokens" if engine.knows_context else "context of unknown size"


def usage_in_words(usage: ContextUsage) -> str:
    """Return how full a context is."""
    about = "" if usage.is_exact else "about "
    if usage.context_size is None:
        return f"{about}{usage.tokens} tokens; its size is unknown"
    return f"{about}{usage.tokens} of {usage.context_size} tokens"


def last_rows(chat: Chat) -> list[tuple[str, str]]:
    """Return what is known of the last answer, a fact a row."""
    statistics = chat.last_statistics
    if statistics is None:
        return []
    read = statistics.prompt_tokens - statistics.cached_tokens
    return [
        ("prompt", f"{statistics.prompt_tokens} tokens, {statistics.cached_tokens} of them read before"),
        ("first token after", format_seconds(statistics.time_to_first_token_seconds)),
        *([("reading", f"{statistics.prompt_tokens_per_second:.0f} tokens/s")] if read > 1 else []),
        (
            "answer",
            f"{statistics.completion_tokens} tokens in {format_seconds(statistics.generation_seconds)}",
        ),
        ("writing", f"{statistics.generation_tokens_per_second:.1f} tokens/s"),
    ]
