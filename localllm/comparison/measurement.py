"""What a comparison knows of each file, and of the machine and settings it was made with: data, no measuring.

Bytes, seconds and tokens per second; shares are fractions. A figure that was not measured is None.
"""

from __future__ import annotations

from dataclasses import dataclass

from localllm.evaluation.uncertain import Uncertain as Uncertain


@dataclass(frozen=True)
class Speed:
    """Tokens per second over some repetitions: `value` is their median, `stderr` that of their mean."""

    value: float
    stderr: float
    low: float
    high: float
    samples: tuple[float, ...]


@dataclass(frozen=True)
class GreedyAnswer:
    """An answer of temperature 0 and where it leaves the reference's.

    `departs_at` is the number of tokens both have in common, `departs_at_character` that of characters; None
    where they are the same, or where this is the reference.
    """

    prompt: str
    text: str
    tokens: int
    departs_at: int | None = None
    departs_at_character: int | None = None


@dataclass(frozen=True)
class TaskScore:
    """How many of a task file's questions were answered right, with the bounds of a 95 % interval (Wilson).

    `kinds` are the same for every kind that the questions are marked with.
    """

    task: str
    right: int
    total: int
    low: float
    high: float
    kinds: tuple[TaskScore, ...] = ()

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else 0.0


@dataclass(frozen=True)
class Measurement:
    """One file. `error` says why figures are missing; `sha256` is that of the file, of a split one of all."""

    level: str
    path: str
    size_bytes: int | None = None
    bits_per_weight: float | None = None
    parameters: int | None = None
    sha256: str | None = None
    is_reference: bool = False
    share_of_reference: float | None = None
    load_seconds: float | None = None
    cold_load_seconds: float | None = None
    peak_memory_bytes: int | None = None
    estimated_memory_bytes: int | None = None
    prompt_tokens_per_second: Speed | None = None
    generation_tokens_per_second: Speed | None = None
    perplexity: Uncertain | None = None
    perplexity_ratio: Uncertain | None = None
    kl_divergence: Uncertain | None = None
    kl_divergence_p99: Uncertain | None = None
    same_top_token: Uncertain | None = None
    rms_delta_p: Uncertain | None = None
    answers: tuple[GreedyAnswer, ...] = ()
    tasks: tuple[TaskScore, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Settings:
    """How it was measured. Sizes in tokens; `text_source` is "given", "model" or "sample"."""

    threads: int
    repetitions: int
    prompt_tokens: int
    generated_tokens: int
    depth: int
    context_size: int
    chunks: int
    evaluated_tokens: int
    texts: tuple[str, ...]
    text_source: str
    chat_format: bool
    max_kl_divergence: float
    min_same_top_token: float


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    devices: tuple[str, ...]
    localllm: str
    llama_cpp_python: str


@dataclass(frozen=True)
class Advice:
    """What the figures allow to say, as levels and in words. Empty where nothing was measured.

    `smallest` keeps the loss that was asked for; `fastest` are those whose speed cannot be told apart from
    the fastest one's; `fitting` those that fit this machine's memory at `context_size` tokens.
    """

    smallest: str | None = None
    fastest: tuple[str, ...] = ()
    fitting: tuple[str, ...] = ()
    context_size: int | None = None
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparisonResult:
    """All measurements, smallest file first, and what follows from them.

    `id` names the run in the history, `started` is its time in ISO 8601 (UTC). `undecided` are pairs of
    levels whose quality could not be told apart. `source` is the path of what `model` stood for, if that is
    one thing.
    """

    id: str
    model: str
    started: str
    reference: str | None
    measurements: tuple[Measurement, ...]
    settings: Settings
    machine: Machine
    notes: tuple[str, ...] = ()
    undecided: tuple[tuple[str, str], ...] = ()
    advice: Advice = Advice()
    source: str | None = None

    @property
    def failed(self) -> bool:
        return any(measurement.error for measurement in self.measurements)
