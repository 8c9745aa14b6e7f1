"""The headers of one model: of a split one those of all its files, looked at together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from localllm.errors import LocalLLMError
from localllm.gguf_file import GGUFHeader, read_header
from localllm.gguf_file.format import Key
from localllm.gguf_file.split_names import split_name, split_paths
from localllm.inspection.problem import Problem

_FETCH = "copy or download the missing files into the same directory"
_NAMED = 3  # missing files that a message lists


@dataclass(frozen=True)
class HeaderFile:
    """The header of one file, and what the file is called: a path or an address."""

    label: str
    header: GGUFHeader


@dataclass(frozen=True)
class HeaderSet:
    """A model's headers in the order of its files, and what is wrong with the set."""

    label: str
    files: tuple[HeaderFile, ...]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def whole(self) -> GGUFHeader:
        """Return one header with the metadata of the first file and the tensors of all.

        The offsets of tensors stay those in their own files.
        """
        headers = [file.header for file in self.files]
        if len(headers) == 1:
            return headers[0]
        return replace(
            headers[0],
            tensors=tuple(tensor for header in headers for tensor in header.tensors),
            file_size_bytes=sum(header.file_size_bytes for header in headers),
        )


def read_headers(path: Path) -> HeaderSet:
    """Read the header of the GGUF file `path`, and of the other files of its model where it is split.

    Raise NotFoundError or InvalidGGUFError for `path` itself; what is wrong with others is a problem.
    """
    named = read_header(path)
    name = split_name(path)
    if name is None or name.count < 2 or not 0 < name.number <= name.count:
        return join_headers(str(path), [HeaderFile(str(path), named)])
    files: list[HeaderFile] = []
    missing: list[str] = []
    problems: list[Problem] = []
    for number, part in enumerate(split_paths(path.with_name(f"{name.stem}.gguf"), name.count), 1):
        if number == name.number:
            files.append(HeaderFile(str(path), named))
        elif not part.exists():
            missing.append(part.name)
        else:
            try:
                files.append(HeaderFile(str(part), read_header(part)))
            except LocalLLMError as error:
                problems.append(Problem("split", error.message, error.hint))
    if missing:
        problems.append(_missing(missing, name.count))
    return join_headers(str(path), files, problems, are_named=True)


def join_headers(
    label: str,
    files: Sequence[HeaderFile],
    problems: Sequence[Problem] = (),
    *,
    are_named: bool = False,
) -> HeaderSet:
    """Put the headers of one model together, one or more, in any order, and say what does not agree.

    `are_named` tells that the names of the files already said how many there are, and what is missing.
    """
    ordered = sorted(files, key=lambda file: _number(file.header))
    found = [*problems, *_disagreements(ordered)]
    count = max((file.header.integer(Key.SPLIT_COUNT) or 1) for file in ordered)
    if count > len(ordered) and not are_named:
        found.append(_unnamed(ordered, count))
    if are_named and not problems:
        found += _miscounted(ordered)
    return HeaderSet(label, tuple(ordered), tuple(found))


def _number(header: GGUFHeader) -> int:
    return header.integer(Key.SPLIT_NUMBER) or 0


def _missing(names: Sequence[str], count: int) -> Problem:
    shown = ", ".join(names[:_NAMED]) + (" and more" if len(names) > _NAMED else "")
    verb = "is" if len(names) == 1 else "are"
    return Problem("split", f"{len(names)} of {count} files of the model {verb} missing: {shown}", _FETCH)


def _unnamed(files: Sequence[HeaderFile], count: int) -> Problem:
    """Return the problem of a file that is part of a split model, of which nothing else was found."""
    here = ", ".join(str(_number(file.header) + 1) for file in files)
    return Problem(
        "split",
        f"file {here} of {count} of a split model: what is counted is this file's",
        f"llama.cpp finds the others by their names: STEM-00001-of-{count:05d}.gguf and so on",
    )


def _disagreements(files: Sequence[HeaderFile]) -> list[Problem]:
    """Return what the files of one set say differently."""
    problems = []
    counts = {file.header.integer(Key.SPLIT_COUNT) for file in files}
    if len(counts) > 1:
        problems.append(Problem("split", "its files belong to models split into different numbers of files"))
    numbers = [_number(file.header) for file in files]
    if len(files) > 1 and len(set(numbers)) < len(numbers):
        problems.append(Problem("split", "two of its files say that they are the same part (`split.no`)"))
    names: dict[str, str] = {}
    for file in files:
        for tensor in file.header.tensors:
            if tensor.name in names:
                where = f"{Path(names[tensor.name]).name} and {Path(file.label).name}"
                problems.append(Problem("split", f"tensor `{tensor.name}` is in {where}"))
                return problems
            names[tensor.name] = file.label
    return problems


def _miscounted(files: Sequence[HeaderFile]) -> list[Problem]:
    """Compare the tensors of a whole set with how many its first file announces."""
    stated = files[0].header.integer(Key.SPLIT_TENSORS)
    found = sum(len(file.header.tensors) for file in files)
    if stated is None or stated == found:
        return []
    return [Problem("split", f"its files hold {found} tensors together, but it announces {stated}")]
