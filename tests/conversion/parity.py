"""What parity with the reference converter means: digests of a GGUF file, and where we differ on purpose.

Files are read by the `gguf` package, not by our own reader, so that one of our mistakes cannot hide another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import gguf
import numpy as np

GOLDEN = Path(__file__).parent / "golden"
OUT_TYPES = ("f32", "f16", "bf16", "q8_0")
_TEXTS = (
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_MAX_INLINE = 200  # characters of JSON; longer values are stored as length and hash

Digest = dict[str, dict[str, Any]]


class Kind(StrEnum):
    """How our file differs from the reference's in one key or tensor."""

    LEFT_OUT = "left out"
    ADDED = "added"
    CHANGED = "changed"


@dataclass(frozen=True)
class Deviation:
    """A key or tensor in which our files differ from the reference's on purpose, and why."""

    name: str
    kind: Kind
    reason: str


@dataclass(frozen=True)
class Difference:
    """One key or tensor that is not the same in both files; None where a file does not have it."""

    name: str
    reference: Any
    own: Any

    @property
    def kind(self) -> Kind:
        if self.own is None:
            return Kind.LEFT_OUT
        return Kind.ADDED if self.reference is None else Kind.CHANGED

    @property
    def reason(self) -> str | None:
        """Why they differ, or None when no deviation explains it."""
        return next((d.reason for d in DEVIATIONS if (d.name, d.kind) == (self.name, self.kind)), None)

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}; reference {self.reference}, ours {self.own}"


_SEPARATOR = "the reference reads it off the template for text pairs; llama.cpp's default is the same"
_TIED = "a tied output head saved twice is written once; llama.cpp uses the embedding"
_CARD = "control characters are removed from model cards and long texts capped"
_SPECIAL = "a special token is also found among ordinary tokens and in generation_config.json"
_ABSENT = "the model has no Mamba layers, nor experts if dense, and llama.cpp's granite reads nothing of this"
_EXPERTS = ("expert_count", "expert_shared_feed_forward_length", "expert_used_count")
_GRANITE_ABSENT = (
    *_EXPERTS,
    "rope.scaling.finetuned",
    "ssm.conv_kernel",
    "ssm.group_count",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.time_step_rank",
)

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation("tokenizer.ggml.add_sep_token", Kind.LEFT_OUT, _SEPARATOR),
    Deviation(
        "tokenizer.ggml.add_bos_token",
        Kind.LEFT_OUT,
        "the reference says false for every vocabulary of 49152; llama.cpp's default for SmolLM is the same",
    ),
    Deviation("output.weight", Kind.LEFT_OUT, _TIED),
    Deviation(
        "output.weight",
        Kind.ADDED,
        "the loader demands it for this architecture: the reference's file of a tied model does not load",
    ),
    Deviation("general.file_type", Kind.ADDED, "the reference leaves it out for GPT-NeoX alone"),
    Deviation(
        "gptneox.rope.freq_base",
        Kind.ADDED,
        "the reference drops rotary_emb_base, so another base than 10000 would be lost",
    ),
    Deviation("general.size_label", Kind.CHANGED, _TIED + ", so it is not counted twice either"),
    Deviation(
        "tokenizer.chat_template",
        Kind.CHANGED,
        "chat_template.jinja wins over tokenizer_config.json, as in transformers",
    ),
    Deviation(
        "tokenizer.chat_templates",
        Kind.CHANGED,
        "the names are sorted; the reference's order changes from run to run",
    ),
    *(Deviation(f"granite.{name}", Kind.LEFT_OUT, _ABSENT) for name in _GRANITE_ABSENT),
    *(
        Deviation(f"granitemoe.{name}", Kind.LEFT_OUT, _ABSENT)
        for name in _GRANITE_ABSENT
        if name not in _EXPERTS
    ),
    *(
        Deviation(
            f"{arch}.attention.head_count_kv", Kind.CHANGED, "all layers have the same number: one is enough"
        )
        for arch in ("granite", "granitemoe")
    ),
    Deviation("general.name", Kind.CHANGED, _CARD),
    Deviation("general.description", Kind.CHANGED, _CARD),
    Deviation(
        "tokenizer.ggml.eot_token_id",
        Kind.ADDED,
        "the chat template ends answers with another token than EOS, and llama.cpp stops at both",
    ),
    Deviation("tokenizer.ggml.bos_token_id", Kind.ADDED, _SPECIAL),
    Deviation("tokenizer.ggml.eos_token_id", Kind.ADDED, _SPECIAL),
    Deviation("tokenizer.ggml.unknown_token_id", Kind.ADDED, _SPECIAL),
)


def digest(path: Path) -> Digest:
    """Return {"metadata": {key: [type, value]}, "tensors": {name: "TYPE AxB sha256"}} of a GGUF file."""
    reader = gguf.GGUFReader(path)
    return {
        "metadata": {
            name: [_type_name(field), _shortened(field.contents())]
            for name, field in reader.fields.items()
            if not name.startswith("GGUF.")
        },
        "tensors": {tensor.name: _tensor_line(tensor) for tensor in reader.tensors},
    }


def differences(reference: Digest, own: Digest) -> list[Difference]:
    """Return every tensor and key that is not the same in both."""
    return [
        Difference(name, reference[part].get(name), own[part].get(name))
        for part in ("tensors", "metadata")
        for name in sorted({*reference[part], *own[part]})
        if reference[part].get(name) != own[part].get(name)
    ]


def source_hashes(checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of the files a conversion depends on, line ends of texts aside."""
    paths = [*checkpoint.glob("model*.safetensors"), *(checkpoint / name for name in _TEXTS)]
    return {path.name: _file_hash(path) for path in sorted(paths) if path.is_file()}


def _file_hash(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        data = data.replace(b"\r\n", b"\n")
    return hashlib.sha256(data).hexdigest()


def _type_name(field: gguf.ReaderField) -> str:
    return " of ".join(kind.name for kind in field.types[:2]) if len(field.types) > 1 else field.types[0].name


def _tensor_line(tensor: gguf.ReaderTensor) -> str:
    shape = "x".join(str(int(size)) for size in tensor.shape)
    content = hashlib.sha256(np.ascontiguousarray(tensor.data).tobytes()).hexdigest()
    return f"{tensor.tensor_type.name} {shape} {content}"


def _shortened(value: Any) -> Any:
    encoded = json.dumps(value, ensure_ascii=False)
    if len(encoded) <= _MAX_INLINE:
        return json.loads(encoded)
    return f"{len(value)} items, sha256 {hashlib.sha256(encoded.encode()).hexdigest()}"


def format_golden(sources: dict[str, str], reference: dict[str, Digest]) -> str:
    """Return a golden file's text: JSON with one key or tensor a line."""
    parts = [f'"sources": {{\n{_lines(sources)}\n}}']
    for kind, found in reference.items():
        sections = (f'"{section}": {{\n{_lines(found[section])}\n}}' for section in ("metadata", "tensors"))
        parts.append(f'"{kind}": {{\n' + ",\n".join(sections) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(entries: dict[str, Any]) -> str:
    return ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
