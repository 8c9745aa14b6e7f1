"""Counts what the server does, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from localllm.batching import Load, Usage

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time of birth beside each counter, which nobody reads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Loads = Callable[[], Mapping[str, Load | None]]  # of each model by name, None for one that is not in memory


class Metrics:
    """The counters of one server; `loads` is asked when somebody reads them."""

    def __init__(self, loads: Loads) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_LoadCollector(loads))
        self._requests = Counter(
            "localllm_http_requests",
            "Requests by path and status.",
            ("path", "status"),
            registry=self._registry,
        )
        self._prompt = self._tokens("prompt_tokens", "Tokens of prompts.")
        self._cached = self._tokens("cached_tokens", "Tokens of prompts that were not read again.")
        self._completion = self._tokens("completion_tokens", "Tokens of answers.")
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
        self._prompt.labels(model).inc(usage.prompt_tokens)
        self._cached.labels(model).inc(usage.cached_tokens)
        self._completion.labels(model).inc(usage.completion_tokens)
        self._first.labels(model).observe(usage.time_to_first_token_seconds)

    def embedded(self, model: str, tokens: int) -> None:
        """Count texts that were embedded."""
        self._prompt.labels(model).inc(tokens)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _tokens(self, name: str, explanation: str) -> Counter:
        return Counter(f"localllm_{name}", explanation, ("model",), registry=self._registry)


class _LoadCollector(Collector):
    """Tells what the engines are doing at the moment."""

    def __init__(self, loads: Loads) -> None:
        self._loads = loads

    def collect(self) -> Iterable[GaugeMetricFamily]:
        loads = self._loads()
        gauges: dict[str, tuple[str, Callable[[Load], float]]] = {
            "slots": ("Answers that can be generated at once.", lambda load: load.slots),
            "busy_slots": ("Answers that are being generated.", lambda load: load.busy_slots),
            "queued_requests": ("Requests that wait for a slot.", lambda load: load.queued_requests),
        }
        present = GaugeMetricFamily(
            "localllm_model_loaded", "Whether a model is in memory.", labels=["model"]
        )
        for name, load in loads.items():
            present.add_metric([name], float(load is not None))
        yield present
        for gauge, (explanation, value) in gauges.items():
            family = GaugeMetricFamily(f"localllm_{gauge}", explanation, labels=["model"])
            for name, load in loads.items():
                if load is not None:
                    family.add_metric([name], value(load))
            yield family
