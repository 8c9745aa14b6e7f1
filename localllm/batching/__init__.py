"""Many requests to one model, decoded together in one batch: what a server stands on."""

from localllm.batching.engine import MOST_PARALLEL, BatchedEngine
from localllm.batching.requests import (
    Delta,
    Embedding,
    GenerationRequest,
    Load,
    TokenChoice,
    Usage,
)
from localllm.batching.ticket import Ticket
from localllm.batching.totals import Totals
from localllm.engine.prompts import Prompt

__all__ = [
    "MOST_PARALLEL",
    "BatchedEngine",
    "Delta",
    "Embedding",
    "GenerationRequest",
    "Load",
    "Prompt",
    "Ticket",
    "TokenChoice",
    "Totals",
    "Usage",
]
