"""What requests are answered with: the models and the counters; and what an answer can be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from localllm.batching import Usage
from localllm.server.catalogue import Catalogue, Served
from localllm.server.generation import Generation
from localllm.server.metrics import Metrics

Body = dict[str, Any]
Events = AsyncGenerator[Body, None]


@dataclass(frozen=True)
class Serving:
    """What all requests share."""

    catalogue: Catalogue
    metrics: Metrics

    def generation(self, model: Served, stack: AsyncExitStack) -> Generation:
        """Return a generation that is counted for `model`, and stopped when `stack` ends."""

        def count(usage: Usage) -> None:
            self.metrics.generated(model.name, usage)

        return stack.enter_context(Generation(count))


# takes the body of a request; what it opens on the stack is closed when the answer is out or nobody wants it
Handler = Callable[[Serving, Body, AsyncExitStack], Awaitable[Body | Events]]
