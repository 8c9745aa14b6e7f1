"""A file to measure, as its header describes it, and whether some of them are of one model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from localllm.comparison.digests import digest_of
from localllm.errors import UsageError
from localllm.events import Emit, ignore
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import FILE_TYPES, Key
from localllm.gguf_file.preflight import read_loadable
from localllm.gguf_file.split_names import model_files, whole_stem
from localllm.memory import running_bytes
from localllm.store import level_in_name

_UNQUANTIZED = ("F32", "BF16", "F16")
_HINT = "compare files of one model; `localllm inspect` shows what a file is"


@dataclass(frozen=True)
class Subject:
    """One model file, of a split one the first. Sizes in bytes, over all its files."""

    path: Path
    level: str
    header: GGUFHeader
    size_bytes: int
    weight_bytes: int
    parameters: int
    sha256: str

    @property
    def bits_per_weight(self) -> float:
        return self.weight_bytes * 8 / max(1, self.parameters)

    @property
    def is_quantized(self) -> bool:
        return self.level not in _UNQUANTIZED

    @property
    def has_template(self) -> bool:
        return bool(self.header.text(Key.CHAT_TEMPLATE))

    @cached_property
    def vocabulary(self) -> str:
        """A checksum of all tokens."""
        encoded = self.header.encoded.get(Key.TOKENS)
        return hashlib.sha256(b"" if encoded is None else encoded.data).hexdigest()

    def running_bytes(self, context: int) -> int:
        """Return about what running it with a context of so many tokens takes."""
        return running_bytes(self.header, self.weight_bytes, context)


def subject_of(path: Path, *, emit: Emit = ignore) -> Subject:
    """Read what there is to know of a file. Raise NotFoundError, InvalidGGUFError or StorageError."""
    header = read_loadable(path)
    files = model_files(path)
    headers = [header, *map(read_header, files[1:])]
    file_type = header.integer(Key.FILE_TYPE)
    labelled = None if file_type is None else FILE_TYPES.get(file_type)
    return Subject(
        path=path,
        level=labelled or level_in_name(path) or whole_stem(path),
        header=header,
        size_bytes=sum(each.file_size_bytes for each in headers),
        weight_bytes=sum(each.tensor_bytes for each in headers),
        parameters=sum(each.parameters for each in headers),
        sha256=digest_of(files, emit=emit),
    )


def require_one_model(subjects: Sequence[Subject]) -> None:
    """Raise UsageError when files have different architectures or vocabularies."""
    first = subjects[0]
    for other in subjects[1:]:
        if other.header.architecture != first.header.architecture:
            raise UsageError(
                f"{first.path} is a {first.header.architecture} model and {other.path} a "
                f"{other.header.architecture} model: they cannot be compared",
                hint=_HINT,
            )
        if other.vocabulary != first.vocabulary:
            raise UsageError(
                f"{first.path} and {other.path} have different vocabularies: they cannot be compared",
                hint=_HINT,
            )


def most_precise(subjects: Sequence[Subject]) -> Subject:
    """Return the file closest to the original: the most bits, the unquantized before the others."""
    return max(
        subjects,
        key=lambda subject: (not subject.is_quantized, subject.bits_per_weight, subject.level == "BF16"),
    )


def distinctly_named(subjects: Sequence[Subject]) -> list[Subject]:
    """Return the files with names for their levels that tell them apart: where two share one, file names."""
    levels = Counter(subject.level for subject in subjects)
    stems = Counter(whole_stem(subject.path) for subject in subjects)
    named = []
    for subject in subjects:
        stem = whole_stem(subject.path)
        other_name = stem if stems[stem] == 1 else str(subject.path)
        named.append(subject if levels[subject.level] == 1 else replace(subject, level=other_name))
    return named
