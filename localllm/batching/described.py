"""What can be told of a loaded model without asking it anything."""

from __future__ import annotations

from localllm.batching.embedding import pooling_of
from localllm.batching.loaded import Loaded
from localllm.engine.base import Setting
from localllm.engine.defaults import effective
from localllm.engine.options import SamplingOptions


class Described:
    """The facts of `loaded`."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def name(self) -> str:
        """Return the model's name, by its file."""
        return self._loaded.name

    @property
    def fingerprint(self) -> str:
        """Return what changes with the model, how it is run, template and adapters, in hexadecimal digits."""
        return self._loaded.fingerprint.digest

    @property
    def created(self) -> int:
        """Return when the file was changed last, in Unix seconds."""
        return self._loaded.created

    @property
    def parameters(self) -> int:
        """Return the number of weights."""
        return self._loaded.model.parameters

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens there are."""
        return self._loaded.model.vocabulary_size

    @property
    def training_context(self) -> int:
        """Return what the model was trained for, in tokens."""
        return self._loaded.model.training_context

    @property
    def context_size(self) -> int:
        """Return how many tokens a request may take, prompt and answer together."""
        return self._loaded.pool.request_tokens

    @property
    def template(self) -> str | None:
        """Return the source of the chat template."""
        return None if self._loaded.template is None else self._loaded.template.source

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template; without one the last message is continued as it is."""
        return self._loaded.template is not None

    @property
    def pooling(self) -> str | None:
        """Return how vectors are made: "mean", "cls" or "last"; None for a model that makes none."""
        found = pooling_of(self._loaded.header)
        return None if found is None else found.value

    @property
    def embedding_size(self) -> int:
        """Return how many numbers a vector has."""
        return self._loaded.model.embedding_size

    def effective(self, options: SamplingOptions) -> dict[str, Setting]:
        """Return every sampling option as it will be used, and where its value comes from."""
        return effective(options, self._loaded.settings)
