"""What an answer must or should contain: token biases, a grammar, a JSON schema."""

from __future__ import annotations

from localllm.engine.options import SamplingOptions
from localllm.engine.prompts import Prompts
from localllm.errors import UsageError
from localllm.events import Emit, Notice
from localllm.native.grammar import Grammar, check_grammar, compile_schema
from localllm.native.model import Model

_KEPT_GRAMMARS = 16


class Constraints:
    """Turns the constraints of requests into what the sampler takes; grammars are checked once."""

    def __init__(self, model: Model, prompts: Prompts, emit: Emit) -> None:
        self._model = model
        self._prompts = prompts
        self._emit = emit
        self._grammars: dict[tuple[str, bool], Grammar] = {}

    def biases(self, options: SamplingOptions) -> tuple[tuple[int, float], ...]:
        """Return (token, bias) pairs; a text stands for each of its tokens, once.

        Raise UsageError for a token that is none.
        """
        found: list[tuple[int, float]] = []
        last = self._model.vocabulary_size - 1
        for token, bias in options.logit_bias:
            if isinstance(token, int) and token > last:
                raise UsageError(
                    f"logit_bias names token {token}, but this model's tokens go from 0 to {last}"
                )
            tokens = [token] if isinstance(token, int) else sorted(set(self._prompts.text_tokens(token)))
            found += [(each, bias) for each in tokens]
        return tuple(found)

    def grammar(self, options: SamplingOptions) -> str | None:
        """Return the grammar an answer must follow. Raise UsageError for one that is broken."""
        if options.grammar is not None:
            return self._checked(options.grammar, is_schema=False)
        if options.json_schema is not None:
            return self._checked(options.json_schema, is_schema=True)
        return None

    def _checked(self, text: str, *, is_schema: bool) -> str:
        key = (text, is_schema)
        if key not in self._grammars:
            make = compile_schema if is_schema else check_grammar
            made = make(text, self._model.path)
            if made.ignored:
                names = ", ".join(f"`{name}`" for name in made.ignored)
                self._emit(Notice(f"the JSON schema's {names} cannot be enforced", topic="schema-keywords"))
            while len(self._grammars) >= _KEPT_GRAMMARS:
                del self._grammars[next(iter(self._grammars))]
            self._grammars[key] = made
        return self._grammars[key].text
