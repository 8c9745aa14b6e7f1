"""Converts a Hugging Face checkpoint to GGUF: plan everything, then stream tensor after tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localllm.assembly import Recipe, assemble
from localllm.checkpoint import Checkpoint, open_checkpoint
from localllm.conversion.config import ModelConfig, normalise
from localllm.conversion.families import family_of
from localllm.conversion.family import Family
from localllm.conversion.keys import encode_keys
from localllm.conversion.metadata import general_metadata
from localllm.conversion.out_type import OutType
from localllm.conversion.plan import ConversionPlan, choose_type, plan_conversion
from localllm.conversion.special_tokens import chat_template_metadata, special_token_metadata
from localllm.conversion.tokens import Vocabulary
from localllm.conversion.verify import verify_header, verify_tokenization
from localllm.conversion.vocabulary import build_vocabulary
from localllm.conversion.writing import data_bytes, write_model
from localllm.errors import TokenizerError, UsageError
from localllm.events import Emit, Notice, ignore
from localllm.gguf_file.format import TensorType
from localllm.gguf_file.writer import Metadata
from localllm.publication import publishing, require_space, translated_errors


@dataclass(frozen=True)
class ConversionResult:
    """What `convert` wrote: sizes in bytes, `level` the type most tensors have."""

    path: Path
    architecture: str
    level: str
    parameters: int
    tensors: int
    size_bytes: int


@dataclass(frozen=True)
class _Conversion:
    checkpoint: Checkpoint
    config: ModelConfig
    plan: ConversionPlan
    vocabulary: Vocabulary
    metadata: Metadata
    arch: str


def convert(
    source: Path | Recipe,
    *,
    output: Path,
    out_type: OutType = OutType.AUTO,
    name: str | None = None,
    pre: str | None = None,
    emit: Emit = ignore,
) -> ConversionResult:
    """Convert a checkpoint directory, or what a recipe makes of one, to the GGUF file `output`.

    `out_type` is the type of the matrices
    (`auto`: the checkpoint's own 16-bit type), `name` replaces `general.name`, `pre` the recognised
    pre-tokenizer. Nothing is written unless the whole conversion succeeds; the result has been re-read
    and its vocabulary tested in llama.cpp. Raise CheckpointError, UnsupportedModelError, TokenizerError,
    UsageError or StorageError.
    """
    if output.is_dir():
        raise UsageError(f"{output} is a directory", hint="give the file a name, for example model.gguf")
    checkpoint = assemble(source if isinstance(source, Recipe) else Recipe(source), emit)
    work = _prepare(checkpoint, out_type, name, pre, emit)
    with translated_errors(output):
        require_space(output, data_bytes(work.plan))
    with publishing(output) as part:
        size = write_model(part, work.plan, work.metadata, work.config, emit)
        verify_header(part, output.name)
        _check_tokenization(part, work, forced=pre is not None, emit=emit)
    return ConversionResult(
        path=output,
        architecture=work.arch,
        level=work.plan.out_type.name,
        parameters=work.plan.parameters,
        tensors=len(work.plan.tensors),
        size_bytes=size,
    )


def resolve_type(source: Path) -> TensorType:
    """Return the type `auto` stands for with the checkpoint directory `source`."""
    return choose_type(open_checkpoint(source), OutType.AUTO)


def _check_tokenization(part: Path, work: _Conversion, *, forced: bool, emit: Emit) -> None:
    """Refuse a file that tokenizes differently, unless the user insisted on a pre-tokenizer."""
    try:
        verify_tokenization(part, work.checkpoint, work.vocabulary.source)
    except TokenizerError as error:
        if not forced:
            raise
        emit(Notice(error.message))


def _prepare(
    checkpoint: Checkpoint, out_type: OutType, name: str | None, pre: str | None, emit: Emit
) -> _Conversion:
    family = family_of(checkpoint.architecture)
    config = normalise(checkpoint.config, family.defaults)
    family.check(config)
    plan = plan_conversion(checkpoint, family, config, out_type)
    config = _with_true_vocabulary_size(config, plan.vocabulary_rows, emit)
    for tensor, reason in plan.dropped:
        emit(Notice(f"left out `{tensor}`: {reason}"))
    vocabulary = build_vocabulary(checkpoint, plan.vocabulary_rows, pre)
    metadata = _metadata(checkpoint, family, config, plan, vocabulary, name, emit)
    return _Conversion(checkpoint, config, plan, vocabulary, metadata, family.arch)


def _with_true_vocabulary_size(config: ModelConfig, rows: int, emit: Emit) -> ModelConfig:
    """The embedding decides how many tokens there are; config.json is sometimes left behind."""
    stated = config.get("vocab_size")
    if stated == rows:
        return config
    emit(Notice(f"config.json says vocab_size {stated}, the embedding has {rows} rows: using {rows}"))
    return ModelConfig({**config.values, "vocab_size": rows})


def _metadata(
    checkpoint: Checkpoint,
    family: Family,
    config: ModelConfig,
    plan: ConversionPlan,
    vocabulary: Vocabulary,
    name: str | None,
    emit: Emit,
) -> Metadata:
    template = chat_template_metadata(checkpoint)
    if not template:
        emit(
            Notice(
                "the checkpoint has no chat template; chat will run as plain completion",
                hint="copy chat_template.jinja of the base model into the directory and convert again",
            )
        )
    return {
        **general_metadata(checkpoint, family.arch, plan, name),
        **encode_keys(family.arch, family.keys, config),
        **{f"{family.arch}.{suffix}": value for suffix, value in family.scaling(config)},
        **vocabulary.metadata(),
        **special_token_metadata(checkpoint, vocabulary, adds_space=family.adds_space),
        **template,
    }
