"""llama.cpp's sampler chain in the order of its own tools: bias, penalties, top-k, top-p, min-p, temperature.

Source of the order and of the way a grammar is applied: common/sampling.cpp. A grammar is asked about the
token that was drawn; only when it refuses that are all tokens asked about and is drawn again.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localllm.errors import GenerationError, UsageError
from localllm.native.context import Context
from localllm.native.library import llama
from localllm.native.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PENALTY_WINDOW = 64  # tokens; llama.cpp's own choice
_AT_LEAST = 1  # tokens that top-p and min-p always keep
_GRAMMAR_ROOT = b"root"


@dataclass(frozen=True)
class SamplerSettings:
    """The knobs of one chain; temperature 0 means greedy.

    `biases` are pairs of a token that exists and what is added to its logit; `grammar` is GBNF that
    `check_grammar` accepted.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    biases: tuple[tuple[int, float], ...] = ()
    grammar: str | None = None


class Sampler:
    """Picks tokens one after another, remembering them for the penalties and the grammar."""

    def __init__(self, settings: SamplerSettings, model: Model) -> None:
        self._library = llama()
        self._vocabulary_size = model.vocabulary_size
        self._grammar: Any = None
        self._chain: Any = self._library.llama_sampler_chain_init(
            self._library.llama_sampler_chain_default_params()
        )
        try:
            for sampler in self._samplers(settings, model):
                self._library.llama_sampler_chain_add(self._chain, sampler)
            if settings.grammar is not None:
                self._grammar = self._grammar_sampler(settings.grammar, model)
        except BaseException:
            self.close()
            raise

    def sample(self, context: Context, index: int = -1) -> int:
        """Draw from the kept logits number `index` (-1: the last ones) and remember the choice.

        Raise GenerationError when the grammar allows no token.
        """
        if self._grammar is None:
            return int(self._library.llama_sampler_sample(self._chain, context.handle, index))
        return self._sample_by_grammar(context.logits_at(index))

    def apply(self, logits: NDArray[np.float32], *, by_grammar: bool = False) -> tuple[NDArray[Any], int]:
        """Return the candidates that `logits` leave (fields id, logit, p), and the index of the choice.

        The choice is remembered only after `accept`. With `by_grammar` its forbidden tokens go first.
        """
        candidates, array = self._candidates(logits)
        if by_grammar:
            self._library.llama_sampler_apply(self._grammar, ctypes.byref(array))
            if not (candidates["logit"] > -float("inf")).any():
                raise GenerationError(
                    "the grammar allows nothing that this model can say",
                    hint="it may ask for characters that the vocabulary lacks",
                )
        self._library.llama_sampler_apply(self._chain, ctypes.byref(array))
        return candidates[: array.size], int(array.selected)

    def accept(self, token: int) -> None:
        """Remember that `token` was chosen."""
        if self._grammar is not None:
            self._library.llama_sampler_accept(self._grammar, token)
        self._library.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain and its samplers."""
        for sampler in (self._chain, self._grammar):
            if sampler:
                self._library.llama_sampler_free(sampler)
        self._chain = self._grammar = None

    def _samplers(self, settings: SamplerSettings, model: Model) -> list[Any]:
        library = self._library
        biases = (*settings.biases, *((token, -float("inf")) for token in model.suppressed))
        chain = [self._bias_sampler(biases)] if biases else []
        chain.append(
            library.llama_sampler_init_penalties(
                self._vocabulary_size,
                PENALTY_WINDOW,
                settings.repeat_penalty,
                settings.frequency_penalty,
                settings.presence_penalty,
            )
        )
        if settings.temperature <= 0:
            return [*chain, library.llama_sampler_init_greedy()]
        return [
            *chain,
            library.llama_sampler_init_top_k(settings.top_k),
            library.llama_sampler_init_top_p(settings.top_p, _AT_LEAST),
            library.llama_sampler_init_min_p(settings.min_p, _AT_LEAST),
            library.llama_sampler_init_temp(settings.temperature),
            library.llama_sampler_init_dist(settings.seed),
        ]

    def _bias_sampler(self, biases: tuple[tuple[int, float], ...]) -> Any:
        entry = self._library.llama_logit_bias
        entries = (entry * len(biases))(*(entry(token, bias) for token, bias in biases))
        return self._library.llama_sampler_init_logit_bias(self._vocabulary_size, len(biases), entries)

    def _grammar_sampler(self, grammar: str, model: Model) -> Any:
        sampler = self._library.llama_sampler_init_grammar(model.vocabulary, grammar.encode(), _GRAMMAR_ROOT)
        if not sampler:
            raise UsageError("llama.cpp does not accept the grammar")
        return sampler

    def _sample_by_grammar(self, logits: NDArray[np.float32]) -> int:
        candidates, chosen = self.apply(logits)
        token = int(candidates["id"][chosen])
        if not self._is_allowed(token):
            candidates, chosen = self.apply(logits, by_grammar=True)
            token = int(candidates["id"][chosen])
        self.accept(token)
        return token

    def _is_allowed(self, token: int) -> bool:
        candidates, array = self._candidate_array([token], [1.0])
        self._library.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(candidates["logit"][0] > -float("inf"))

    def _candidates(self, logits: NDArray[np.float32]) -> tuple[NDArray[Any], Any]:
        import numpy as np

        return self._candidate_array(np.arange(logits.size, dtype=np.int32), logits)

    def _candidate_array(self, ids: Any, logits: Any) -> tuple[NDArray[Any], Any]:
        """Return tokens and logits as a numpy array and as the C structure that describes the same memory."""
        import numpy as np

        candidates = np.zeros(len(ids), dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        candidates["id"] = ids
        candidates["logit"] = logits
        array = self._library.llama_token_data_array()
        array.data = candidates.ctypes.data_as(ctypes.POINTER(self._library.llama_token_data))
        array.size, array.selected, array.sorted = len(ids), -1, False
        return candidates, array
