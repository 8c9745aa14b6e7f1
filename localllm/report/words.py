"""What is said around the tables: what failed, how it was measured, when and where."""

from __future__ import annotations

from datetime import datetime

from localllm.comparison.measurement import ComparisonResult, Machine, Settings, TaskScore
from localllm.report.columns import row_labels
from localllm.report.figures import percent, significant
from localllm.units import format_bytes

_SOURCES = {
    "given": "the text that was given",
    "model": "the model's own text",
    "sample": "the built-in sample",
}


def failures(result: ComparisonResult) -> list[tuple[str, str]]:
    """Return what to call each file that failed, and why it did."""
    labels = row_labels(result.measurements)
    return [(label, row.error) for label, row in zip(labels, result.measurements, strict=True) if row.error]


def speed_settings(settings: Settings) -> str:
    """Return how speeds were measured."""
    behind = f" behind {settings.depth}" if settings.depth else ""
    return (
        f"{settings.prompt_tokens} tokens read and {settings.generated_tokens} generated{behind}, "
        f"{_counted(settings.repetitions, 'repetition')}, {_counted(settings.threads, 'thread')}"
    )


def quality_settings(settings: Settings) -> str | None:
    """Return how quality was measured; None where it was not."""
    if not settings.evaluated_tokens:
        return None
    text = _SOURCES.get(settings.text_source, settings.text_source)
    form = ", as a chat" if settings.chat_format else ""
    return (
        f"{settings.evaluated_tokens:,} tokens of {text}{form}, in {_counted(settings.chunks, 'window')} of "
        f"{settings.context_size}"
    )


def loss_sentence(settings: Settings) -> str:
    """Return which loss is called small."""
    return (
        f"a KL divergence of at most {settings.max_kl_divergence:g}, or the same top token for at least "
        f"{percent(settings.min_same_top_token)}"
    )


def machine_line(machine: Machine) -> str:
    """Return the machine in a line."""
    devices = f", {', '.join(machine.devices)}" if machine.devices else ""
    return (
        f"{machine.processor}, {_counted(machine.cores, 'core')}, "
        f"{format_bytes(machine.memory_bytes)} of memory{devices}, {machine.system}"
    )


def versions(machine: Machine) -> str:
    """Return what measured."""
    return f"localllm {machine.localllm}, llama-cpp-python {machine.llama_cpp_python}"


def sentence(text: str) -> str:
    """Return a message as a sentence: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def clock(time: str) -> str:
    """Return a time in ISO 8601 to the minute, in UTC as it is; as it stands when it is none."""
    try:
        return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M}"
    except ValueError:
        return time


def task_cell(score: TaskScore) -> str:
    """Return the share of right answers with its interval: 96.9 % (94.4–98.3)."""
    low, high = (significant(100 * bound, 3) for bound in (score.low, score.high))
    return f"{percent(score.share)} ({low}–{high})"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
