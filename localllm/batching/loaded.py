"""A model loaded for many requests: the header of its file, its template, its contexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localllm.batching.pool import Pool, pool_for
from localllm.chat_template import ChatTemplate, prepare
from localllm.chat_template.of_model import template_of
from localllm.engine.adapter_files import require_adapter
from localllm.engine.base import Setting
from localllm.engine.defaults import read_generation_config, recommended
from localllm.engine.engine_options import EngineOptions
from localllm.engine.fingerprint import Fingerprint
from localllm.engine.loading import load_with, trained_context
from localllm.engine.sizing import Sizing, tell_about_gpus
from localllm.engine.workspace import BATCH_TOKENS
from localllm.events import Emit
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import read_loadable
from localllm.machine import usable_cores
from localllm.native.adapter import Adapters
from localllm.native.context import Context
from localllm.native.model import Model

_LONGEST_AT_ONCE = 2048  # tokens, when nobody says; memory grows with their square


@dataclass
class Loaded:
    """All of it; `context` is None for a model that looks ahead, which cannot answer."""

    name: str
    created: int
    header: GGUFHeader
    options: EngineOptions
    fingerprint: Fingerprint
    settings: Mapping[str, Setting]
    pool: Pool
    model: Model
    adapters: Adapters
    context: Context | None
    template: ChatTemplate | None

    @property
    def looks_ahead(self) -> bool:
        """Whether the tokens of a text see those behind them, as BERT's do."""
        return _looks_ahead(self.header)

    def make_embedding_context(self, size: int, batch_size: int, sequences: int, pooling: int) -> Context:
        """Make a context that computes vectors: of tokens, or with a `pooling` of sequences."""
        return _make_context(
            self.model,
            self.adapters,
            self.options,
            size=size,
            batch_size=batch_size,
            sequences=sequences,
            embeddings=True,
            pooling=pooling,
        )

    def close(self) -> None:
        """Free context and model; nobody may use them any more."""
        if self.context is not None:
            self.context.close()
        self.model.close()


def load(path: Path, options: EngineOptions, parallel: int, emit: Emit) -> Loaded:
    """Load the model in `path` with room for `parallel` requests. Raise as BatchedEngine."""
    header = read_loadable(path)
    source = options.template or header.text(Key.CHAT_TEMPLATE)
    if source:
        prepare()  # its process starts while the model is loaded
    sizing = Sizing(path, header, options)
    for adapter, _ in options.adapters:
        require_adapter(adapter, header)
    fingerprint = Fingerprint(path, header, options, source)
    tell_about_gpus(options, emit)
    pool = _pool(header, options, parallel, sizing)

    def make(model: Model, adapters: Adapters) -> tuple[Adapters, Context | None]:
        if _looks_ahead(header):
            return adapters, None
        batch_size = max(min(BATCH_TOKENS, pool.cells), parallel)
        context = _make_context(
            model, adapters, options, size=pool.cells, batch_size=batch_size, sequences=parallel
        )
        return adapters, context

    counts = sizing.layer_counts(options.gpu_layers, pool.cells)
    model, (adapters, context) = load_with(path, options, counts, make, emit)
    loaded = Loaded(
        name=header.text(Key.NAME) or path.stem,
        created=int(path.stat().st_mtime),
        header=header,
        options=options,
        fingerprint=fingerprint,
        settings=recommended(header, read_generation_config(path.parent)),
        pool=pool,
        model=model,
        adapters=adapters,
        context=context,
        template=None,
    )
    try:
        loaded.template = template_of(model, source)
    except BaseException:
        loaded.close()
        raise
    return loaded


def _make_context(
    model: Model,
    adapters: Adapters,
    options: EngineOptions,
    *,
    size: int,
    batch_size: int,
    sequences: int,
    embeddings: bool = False,
    pooling: int = 0,
) -> Context:
    context = Context(
        model,
        context_size=size,
        threads=options.threads or usable_cores(),
        batch_size=batch_size,
        sequences=sequences,
        shared=True,
        cache_type_k=options.cache_type_k,
        cache_type_v=options.cache_type_v,
        flash_attention=options.flash_attention,
        window_only=True,
        embeddings=embeddings,
        pooling=pooling,
    )
    try:
        adapters.apply_to(context)
    except BaseException:
        context.close()
        raise
    return context


def _pool(header: GGUFHeader, options: EngineOptions, parallel: int, sizing: Sizing) -> Pool:
    trained = trained_context(header)
    if _looks_ahead(header):  # sees a text at once, and has no positions beyond those it was trained for
        size = min(trained, options.context or _LONGEST_AT_ONCE)
        return Pool(size, size)
    return pool_for(options.context, parallel, trained, sizing)


def _looks_ahead(header: GGUFHeader) -> bool:
    return header.metadata.get(f"{header.architecture}.attention.causal") is False
