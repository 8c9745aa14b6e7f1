"""Counts what the server does, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from localllm.batching import Load, Totals, Usage

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time of birth beside each counter, which nobody reads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_GAUGES: dict[str, tuple[str, Callable[[Load], float]]] = {
    "slots": ("Answers that can be generated at once.", lambda load: load.slots),
    "busy_slots": ("Answers that are being generated.", lambda load: load.busy_slots),
    "queued_requests": ("Requests that wait for a slot.", lambda load: load.queued_requests),
}
_COUNTERS: dict[str, tuple[str, Callable[[Totals], float]]] = {
    "prompt_tokens": ("Tokens of prompts.", lambda totals: totals.prompt_tokens),
    "cached_tokens": ("Tokens of prompts that were not read again.", lambda totals: totals.cached_tokens),
    "completion_tokens": ("Tokens of answers.", lambda totals: totals.completion_tokens),
    "decode_seconds": ("What the batches of answers took.", lambda totals: totals.decode_seconds),
    "decode_batches": ("Batches of answers.", lambda totals: totals.decode_calls),
}
_OUTCOMES: dict[str, Callable[[Totals], float]] = {
    "finished": lambda totals: totals.finished_requests,
    "cancelled": lambda totals: totals.cancelled_requests,
    "failed": lambda totals: totals.failed_requests,
    "refused": lambda totals: totals.refused_requests,
}


class Measured(Protocol):
    """A model as the counters see it; `load` is None while it is not in memory."""

    @property
    def name(self) -> str: ...
    @property
    def load(self) -> Load | None: ...
    @property
    def totals(self) -> Totals: ...


class Metrics:
    """The counters of one server; `models` are asked when somebody reads them."""

    def __init__(self, models: Sequence[Measured]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_ModelCollector(models))
        self._requests = Counter(
            "localllm_http_requests",
            "Requests by path and status.",
            ("path", "status"),
            registry=self._registry,
        )
        self._first = Histogram(
            "localllm_time_to_first_token_seconds",
            "From the request to the first token of its answer.",
            ("model",),
            buckets=_FIRST_TOKEN_SECONDS,
            registry=self._registry,
        )

    def answered(self, path: str, status: int) -> None:
        """Count a request; `path` is a route of ours, not what somebody made up."""
        self._requests.labels(path, str(status)).inc()

    def generated(self, model: str, usage: Usage) -> None:
        """Count a request that was finished."""
        self._first.labels(model).observe(usage.time_to_first_token_seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _ModelCollector(Collector):
    """Tells what the engines are doing at the moment, and what they did, those before them included."""

    def __init__(self, models: Sequence[Measured]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        loads = {model.name: model.load for model in self._models}
        loaded = GaugeMetricFamily("localllm_model_loaded", "Whether a model is in memory.", labels=["model"])
        for name, load in loads.items():
            loaded.add_metric([name], float(load is not None))
        yield loaded
        for gauge, (explanation, value) in _GAUGES.items():
            family = GaugeMetricFamily(f"localllm_{gauge}", explanation, labels=["model"])
            for name, load in loads.items():
                if load is not None:
                    family.add_metric([name], value(load))
            yield family
        yield from self._totals()

    def _totals(self) -> Iterable[Metric]:
        totals = {model.name: model.totals for model in self._models}
        for counter, (explanation, value) in _COUNTERS.items():
            family = CounterMetricFamily(f"localllm_{counter}", explanation, labels=["model"])
            for name, each in totals.items():
                family.add_metric([name], value(each))
            yield family
        requests = CounterMetricFamily(
            "localllm_requests", "Requests for answers by how they ended.", labels=["model", "outcome"]
        )
        for name, each in totals.items():
            for outcome, value in _OUTCOMES.items():
                requests.add_metric([name, outcome], value(each))
        yield requests
