"""The engine that runs a GGUF file with llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from localllm.chat_template import prepare
from localllm.chat_template.of_model import template_of
from localllm.engine import state_file
from localllm.engine.adapter_files import require_adapter
from localllm.engine.answer_text import AnswerText
from localllm.engine.base import Engine, Messages, Setting, StateInfo
from localllm.engine.chunks import Chunk
from localllm.engine.constraints import Constraints
from localllm.engine.defaults import effective, read_generation_config, recommended
from localllm.engine.engine_options import EngineOptions
from localllm.engine.fingerprint import Fingerprint
from localllm.engine.generation import Generation, Voice
from localllm.engine.loading import load_model
from localllm.engine.options import SamplingOptions
from localllm.engine.prompts import Prompts
from localllm.engine.sampling import sampler_settings
from localllm.engine.sizing import Sizing, tell_about_gpus
from localllm.errors import GenerationError, ModelLoadError, StateError
from localllm.events import Emit, ignore
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import read_loadable
from localllm.native.sampler import Sampler, SamplerSettings

_ANSWER_ROOM = 1024  # tokens that an answer of no given length should find room for
_NO_LIMIT = 2**31 - 1


class LlamaEngine(Engine):
    """Runs one GGUF file. Raise InvalidGGUFError, ModelLoadError or GenerationError when it cannot."""

    def __init__(
        self,
        path: Path,
        options: EngineOptions = EngineOptions(),  # noqa: B008 (frozen)
        *,
        emit: Emit = ignore,
    ) -> None:
        self._options = options
        self._interrupted = False
        self._is_open = True
        self._header = read_loadable(path)
        template_source = options.template or self._header.text(Key.CHAT_TEMPLATE)
        if template_source:
            prepare()  # its process starts while the model is loaded
        self._settings = recommended(self._header, read_generation_config(path.parent))
        self._sizing = Sizing(path, self._header, options)
        for adapter, _ in options.adapters:
            require_adapter(adapter, self._header)
        self._fingerprint = Fingerprint(path, self._header, options, template_source)
        tell_about_gpus(options, emit)
        self._model, self._workspace = load_model(path, self._header, options, self._sizing, emit)
        try:
            template = template_of(self._model, template_source)
            self._prompts = Prompts(self._model, self._header, template, emit)
        except BaseException:
            self.close()
            raise
        self._constraints = Constraints(self._model, self._prompts, emit)
        self.name = self._header.text(Key.NAME) or path.stem
        self.training_context = self._model.training_context
        self.has_template = template is not None
        self.can_keep_state = True  # tests show it for every kind: whole, windowed, recurrent, hybrid

    @property
    def context_size(self) -> int:
        return self._workspace.size

    @property
    def fingerprint(self) -> str:
        return self._fingerprint.digest

    @property
    def opens_reasoning(self) -> bool:
        return self._prompts.opens_reasoning

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        self._require_open()
        prompt = self._prompts.tokens(messages)
        settings = sampler_settings(options, self._settings, self._constraints)
        self._require_room(len(prompt), options)
        self._workspace.require_sequences(options.n)
        self._interrupted = False
        return self._generate(prompt, options, settings)

    def count_tokens(self, messages: Messages) -> int:
        self._require_open()
        return len(self._prompts.tokens(messages))

    def count_text(self, text: str) -> int:
        self._require_open()
        return self._prompts.count_text(text)

    def effective(self, options: SamplingOptions) -> dict[str, Setting]:
        return effective(options, self._settings)

    def interrupt(self) -> None:
        self._interrupted = True
        self._workspace.context.interrupt()

    def save_state(self, path: Path) -> StateInfo:
        self._require_open()
        if not self._workspace.tokens:
            raise StateError("there is no state to keep yet")
        return state_file.save_state(self._workspace.context, self._workspace.tokens, path, self.fingerprint)

    def load_state(self, path: Path) -> int:
        self._require_open()
        count = state_file.saved_tokens(path, self.fingerprint)
        if count >= self.context_size and not self.grow(count + 1):
            raise StateError(
                f"the saved state {path.name} holds {count} tokens, the context {self.context_size}"
            )
        self._workspace.clear()
        self._workspace.tokens = state_file.load_state(self._workspace.context, path, count)
        return count

    def grow(self, context_size: int) -> bool:
        self._require_open()
        if context_size <= self.context_size:
            return True
        if self._options.context is not None:
            return False
        size = self._sizing.larger_context(context_size, self.context_size, self.training_context)
        if size is None:
            return False
        try:
            self._workspace.resize(size)
        except ModelLoadError:
            return False
        return True

    def close(self) -> None:
        self._is_open = False
        self._workspace.close()
        self._model.close()

    def _require_open(self) -> None:
        if not self._is_open:
            raise GenerationError("the engine is closed")

    # answering ------------------------------------------------------------------------------

    def _generate(
        self, prompt: list[int], options: SamplingOptions, settings: list[SamplerSettings]
    ) -> Iterator[Chunk]:
        self._require_open()
        voices: list[Voice] = []
        limit = options.max_tokens or _NO_LIMIT
        try:
            for index, setting in enumerate(settings):
                text = AnswerText(self._model, options.stop, limit)
                voices.append(Voice(index, Sampler(setting, self._model), text))
            generation = Generation(
                self._workspace,
                voices,
                is_interrupted=lambda: self._interrupted,
                make_room=lambda needed: options.n == 1 and self.grow(needed),
            )
            yield from generation.run(prompt)
        finally:
            for voice in voices:
                voice.close()

    def _require_room(self, prompt_tokens: int, options: SamplingOptions) -> None:
        """Grow the context for the prompt and its answers; raise when the prompt does not fit."""
        least = prompt_tokens + options.n
        wanted = prompt_tokens + options.n * min(options.max_tokens or _ANSWER_ROOM, _ANSWER_ROOM)
        if self.grow(wanted) or self.grow(least) or least <= self.context_size:
            return
        raise GenerationError(
            f"the conversation takes {prompt_tokens} tokens, but the context holds {self.context_size}",
            hint="start a new conversation or choose a larger `--context`",
        )
