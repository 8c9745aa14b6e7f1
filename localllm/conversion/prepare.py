"""Everything a conversion decides before it writes: tensors and types, vocabulary, metadata.

Each step is a function, so that `examination` can go on behind one that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localllm import chat_template
from localllm.checkpoint import Checkpoint
from localllm.conversion.config import ModelConfig, normalise
from localllm.conversion.families import family_of
from localllm.conversion.family import Family
from localllm.conversion.keys import encode_keys
from localllm.conversion.metadata import general_metadata
from localllm.conversion.mtp import with_layers
from localllm.conversion.out_type import OutType
from localllm.conversion.plan import ConversionPlan, plan_conversion
from localllm.conversion.sources import language_model
from localllm.conversion.special_tokens import (
    chat_template_metadata,
    demanded_token_metadata,
    special_token_metadata,
)
from localllm.conversion.tokens import Vocabulary
from localllm.conversion.turn_end import turn_end_metadata
from localllm.conversion.vocabulary import build_vocabulary
from localllm.events import Emit, Notice
from localllm.gguf_file.format import Key
from localllm.gguf_file.writer import Metadata

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; see `convert`."""

    out_type: OutType = OutType.AUTO
    name: str | None = None
    pre: str | None = None
    overrides: Mapping[str, Any] | None = None
    keep_mtp: bool = False


@dataclass(frozen=True)
class Model:
    """The weights' side of a conversion: hyperparameters by the family's table, and the tensors to write."""

    family: Family
    config: ModelConfig
    plan: ConversionPlan


@dataclass(frozen=True)
class Texts:
    """The tokenizer's side of a conversion: the vocabulary and every `tokenizer.*` key."""

    vocabulary: Vocabulary
    metadata: Metadata


@dataclass(frozen=True)
class Preparation:
    """A conversion decided to the last byte of its header."""

    model: Model
    texts: Texts
    metadata: Metadata


def prepare(checkpoint: Checkpoint, wishes: Wishes, emit: Emit) -> Preparation:
    """Decide everything. Raise CheckpointError, UnsupportedModelError or TokenizerError."""
    start_ahead(checkpoint)
    look_around(checkpoint, emit)
    model = prepare_model(checkpoint, wishes, emit)
    return with_texts(checkpoint, model, model_metadata(checkpoint, model, wishes), wishes, emit)


def start_ahead(checkpoint: Checkpoint) -> None:
    """Start the process that will render the chat template, which takes as long as all before it."""
    if chat_template_metadata(checkpoint):
        chat_template.prepare()


def with_texts(
    checkpoint: Checkpoint, model: Model, metadata: Metadata, wishes: Wishes, emit: Emit
) -> Preparation:
    """Complete the `model_metadata` of a prepared model by its vocabulary."""
    texts = prepare_texts(checkpoint, model.family, model.plan.vocabulary_rows, wishes, emit)
    return Preparation(model, texts, {**metadata, **texts.metadata})


def look_around(checkpoint: Checkpoint, emit: Emit) -> None:
    """Tell what lies in the directory and is not used."""
    if checkpoint.config.get("auto_map"):
        emit(
            Notice(
                "config.json names code of its own (auto_map), which is never run",
                topic="remote-code",
            )
        )
    if all((checkpoint.directory / name).is_file() for name in _ADAPTER):
        emit(
            Notice(
                f"{checkpoint.directory} holds a LoRA adapter, too, which is not merged",
                hint="to merge it, move it to a directory of its own and name that with `--adapter`",
                topic="adapter",
            )
        )
    if (checkpoint.directory / "generation_config.json").is_file() and not checkpoint.generation_config:
        emit(
            Notice(
                "generation_config.json is not valid JSON and is not used",
                hint="copy the base model's if its sampling defaults matter to you",
                topic="generation-config",
            )
        )


def prepare_model(checkpoint: Checkpoint, wishes: Wishes, emit: Emit) -> Model:
    """Find the family and plan every tensor."""
    family = family_of(checkpoint.architecture, checkpoint.config)
    config = normalise(checkpoint.config, family.defaults)
    family.check(config)
    if wishes.keep_mtp:
        config = with_layers(config, family, language_model(checkpoint.tensors))
    for remark in family.remarks(config):
        emit(Notice(remark, topic="runtime"))
    plan = plan_conversion(checkpoint, family, config, wishes.out_type, emit)
    return Model(family, _with_true_vocabulary_size(config, plan.vocabulary_rows, emit), plan)


def prepare_texts(
    checkpoint: Checkpoint, family: Family | None, rows: int, wishes: Wishes, emit: Emit
) -> Texts:
    """Build the vocabulary for an embedding of `rows` rows, find special tokens and chat template."""
    vocabulary = build_vocabulary(
        checkpoint, rows, wishes.pre, emit, kind=family.vocabulary if family else None
    )
    for _, token in sorted(vocabulary.beyond.items()):
        emit(
            Notice(
                f"left out the added token {token!r}: the embedding has no row for it, it was never used",
                topic="added-token",
                fixed=True,
            )
        )
    special = {
        **demanded_token_metadata(vocabulary, family.special_tokens if family else {}),
        **special_token_metadata(checkpoint, vocabulary, adds_space=family.adds_space if family else None),
    }
    template = chat_template_metadata(checkpoint)
    if not template:
        emit(
            Notice(
                "the checkpoint has no chat template; chat will run as plain completion",
                hint="if it was tuned with its base model's, take that: `--base DIRECTORY`",
                topic="chat-template",
            )
        )
    default = template.get(str(Key.CHAT_TEMPLATE))
    source = None if default is None else str(default.value)
    end = turn_end_metadata(checkpoint, vocabulary, special, source, emit)
    return Texts(vocabulary, {**vocabulary.metadata(), **special, **end, **template})


def all_metadata(checkpoint: Checkpoint, model: Model, texts: Texts, wishes: Wishes) -> Metadata:
    """Return every key of the file, in its order."""
    return {**model_metadata(checkpoint, model, wishes), **texts.metadata}


def model_metadata(checkpoint: Checkpoint, model: Model, wishes: Wishes) -> Metadata:
    """Return the keys in front of those of the tokenizer."""
    arch = model.family.arch
    return {
        **general_metadata(checkpoint, arch, model.plan, wishes.name, wishes.overrides),
        **encode_keys(arch, model.family.keys, model.config),
        **{f"{arch}.{suffix}": value for suffix, value in model.family.scaling(model.config)},
    }


def _with_true_vocabulary_size(config: ModelConfig, rows: int, emit: Emit) -> ModelConfig:
    """The embedding decides how many tokens there are; config.json is sometimes left behind."""
    stated = config.get("vocab_size")
    if stated == rows:
        return config
    emit(
        Notice(
            f"config.json says vocab_size {stated}, the embedding has {rows} rows: using {rows}",
            topic="vocabulary-size",
            fixed=True,
        )
    )
    return ModelConfig({**config.values, "vocab_size": rows})
