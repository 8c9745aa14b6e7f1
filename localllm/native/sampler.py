"""llama.cpp's sampler chain, in the order its own tools use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localllm.native.context import Context
from localllm.native.library import llama

_PENALTY_WINDOW = 64


@dataclass(frozen=True)
class SamplerSettings:
    """The knobs of one chain; temperature 0 means greedy."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    seed: int


class Sampler:
    """Picks the next token: penalties, top-k, top-p, min-p, temperature, then a seeded draw."""

    def __init__(self, settings: SamplerSettings, vocabulary_size: int) -> None:
        library = llama()
        self._library = library
        self._chain: Any = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        for sampler in self._samplers(settings, vocabulary_size):
            library.llama_sampler_chain_add(self._chain, sampler)

    def _samplers(self, settings: SamplerSettings, vocabulary_size: int) -> list[Any]:
        library = self._library
        chain = [
            library.llama_sampler_init_penalties(
                vocabulary_size,
                _PENALTY_WINDOW,
                settings.repeat_penalty,
                settings.frequency_penalty,
                settings.presence_penalty,
            )
        ]
        if settings.temperature <= 0:
            return [*chain, library.llama_sampler_init_greedy()]
        return [
            *chain,
            library.llama_sampler_init_top_k(settings.top_k),
            library.llama_sampler_init_top_p(settings.top_p, 1),
            library.llama_sampler_init_min_p(settings.min_p, 1),
            library.llama_sampler_init_temp(settings.temperature),
            library.llama_sampler_init_dist(settings.seed),
        ]

    def sample(self, context: Context) -> int:
        """Draw from the logits of the last decoded token and remember the choice."""
        return int(self._library.llama_sampler_sample(self._chain, context.handle, -1))

    def close(self) -> None:
        """Free the chain and its samplers."""
        if self._chain:
            self._library.llama_sampler_free(self._chain)
            self._chain = None
