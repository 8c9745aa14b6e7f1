"""The doctor: everything that is wrong with a checkpoint, found without writing a file, each with its fix.

It takes the steps of a conversion one by one and goes on behind one that fails, as far as the next ones
do not depend on it. The last step encodes all weights into nothing, so that NaN and overflow are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from localllm.adapters import open_adapter
from localllm.assembly import Recipe, assemble
from localllm.checkpoint import Checkpoint, open_without_weights, token_embedding
from localllm.conversion.convert import prove_tokenization
from localllm.conversion.families import family_of
from localllm.conversion.lora import prepare_adapter
from localllm.conversion.missing_files import completed
from localllm.conversion.out_type import OutType
from localllm.conversion.prepare import (
    Model,
    Preparation,
    Wishes,
    all_metadata,
    look_around,
    prepare_model,
    prepare_texts,
)
from localllm.conversion.writing import check_weights, data_bytes
from localllm.errors import LocalLLMError
from localllm.events import Emit, Event, Notice, ignore

_Step = TypeVar("_Step")


class Severity(StrEnum):
    """What a finding means for the conversion."""

    ERROR = "error"  # it would stop there
    FIXED = "fixed"  # it puts that right
    NOTE = "note"  # it goes on; the result may not be what was meant


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed. `topic` is stable, for programs; `fix` says what to do."""

    severity: Severity
    topic: str
    message: str
    fix: str | None = None


@dataclass(frozen=True)
class Examination:
    """What there is to say about a checkpoint or adapter; figures are None when they could not be found."""

    path: Path
    findings: tuple[Finding, ...]
    architecture: str | None = None
    level: str | None = None
    parameters: int | None = None
    tensors: int | None = None
    size_bytes: int | None = None

    @property
    def errors(self) -> int:
        return sum(finding.severity is Severity.ERROR for finding in self.findings)


def examine(
    recipe: Recipe,
    *,
    out_type: OutType = OutType.AUTO,
    name: str | None = None,
    pre: str | None = None,
    base: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    keep_mtp: bool = False,
    emit: Emit = ignore,
) -> Examination:
    """Look for everything that stops or changes the conversion of `recipe`; raise nothing for what is found.

    The options are those of `convert`. All weights are read.
    """
    doctor = _Doctor(emit)
    wishes = Wishes(out_type, name, pre, overrides, keep_mtp)
    whole = doctor.step(lambda emit: assemble(recipe, emit))
    opened = whole or doctor.step(lambda _: open_without_weights(recipe.base))
    if opened is None:
        return Examination(recipe.base, tuple(doctor.findings))
    checkpoint = doctor.step(lambda emit: completed(opened, base, emit)) or opened
    doctor.step(lambda emit: look_around(checkpoint, emit))
    model = doctor.step(lambda emit: prepare_model(checkpoint, wishes, emit)) if whole else None
    _examine_texts(doctor, checkpoint, model, wishes)
    if model is None:
        return Examination(recipe.base, tuple(doctor.findings), checkpoint.architecture or None)
    doctor.step(lambda emit: check_weights(model.plan, model.config, emit))
    return Examination(
        path=recipe.base,
        findings=tuple(doctor.findings),
        architecture=model.family.arch,
        level=model.plan.out_type.name,
        parameters=model.plan.parameters,
        tensors=len(model.plan.tensors),
        size_bytes=data_bytes(model.plan),
    )


def examine_adapter(
    adapter: Path, find_base: Callable[[], Path], out_type: OutType, emit: Emit = ignore
) -> Examination:
    """Look for everything that stops the conversion of an adapter to a GGUF adapter.

    `find_base` returns the base model's directory, or raises.
    """
    doctor = _Doctor(emit)
    opened = doctor.step(lambda _: open_adapter(adapter))
    base = doctor.step(lambda _: find_base())
    if opened is None or base is None:
        return Examination(adapter, tuple(doctor.findings))
    planned = doctor.step(lambda _: prepare_adapter(opened, base, out_type))
    if planned is None:
        return Examination(adapter, tuple(doctor.findings))
    return Examination(
        path=adapter,
        findings=tuple(doctor.findings),
        architecture=planned.family.arch,
        level=planned.type.name,
        parameters=planned.parameters,
        tensors=len(planned.tensors),
        size_bytes=planned.data_bytes,
    )


@dataclass
class _Doctor:
    """Runs steps and writes down what they notice and why they fail, everything once."""

    emit: Emit
    findings: list[Finding] = field(default_factory=list)

    def step(self, action: Callable[[Emit], _Step]) -> _Step | None:
        """Return what `action` returns, None when it fails."""
        try:
            return action(self._listen)
        except LocalLLMError as error:
            self._note(Finding(Severity.ERROR, error.code, error.message, error.hint))
            return None

    def _listen(self, event: Event) -> None:
        if isinstance(event, Notice):
            severity = Severity.FIXED if event.fixed else Severity.NOTE
            self._note(Finding(severity, event.topic, event.message, event.hint))
        else:
            self.emit(event)

    def _note(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)


def _examine_texts(doctor: _Doctor, checkpoint: Checkpoint, model: Model | None, wishes: Wishes) -> None:
    """Look at tokenizer and template, also when the weights could not be planned."""
    family = (
        model.family
        if model
        else doctor.step(lambda _: family_of(checkpoint.architecture, checkpoint.config))
    )
    rows = model.plan.vocabulary_rows if model else _likely_rows(checkpoint)
    if not rows:
        return
    texts = doctor.step(lambda emit: prepare_texts(checkpoint, family, rows, wishes, emit))
    if model is None or texts is None:
        return
    metadata = doctor.step(lambda _: all_metadata(checkpoint, model, texts, wishes))
    if metadata is not None:
        work = Preparation(model, texts, metadata)
        doctor.step(
            lambda emit: prove_tokenization(checkpoint, work, forced=wishes.pre is not None, emit=emit)
        )


def _likely_rows(checkpoint: Checkpoint) -> int:
    """Return how many tokens the embedding or config.json says there are, 0 when neither does."""
    embedding = token_embedding(checkpoint.tensors)
    if embedding is not None:
        return embedding.rows
    stated = checkpoint.config.get("vocab_size")
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else 0
