"""Refuses files that would make llama.cpp abort the process instead of reporting an error.

llama.cpp answers most damage with an error, but some metadata ends in an assertion failure, a division by
zero or a wild pointer, at load or at the first token. These checks name the problem before llama.cpp sees
the file. They hold for model files; vocabulary-only files and adapters are checked as far as they go.
What depends on llama.cpp's version, such as the architectures it knows, is left to its own errors.

`tests/gguf_file/campaign.py` looks for what is missing here.
"""

from __future__ import annotations

from pathlib import Path

from localllm.errors import InvalidGGUFError
from localllm.gguf_file.format import Key
from localllm.gguf_file.header import GGUFHeader
from localllm.gguf_file.preflight.architectures import kind_problem
from localllm.gguf_file.preflight.hyperparameters import hyperparameter_problem
from localllm.gguf_file.preflight.layers import layers_problem
from localllm.gguf_file.preflight.tensors import tensors_problem
from localllm.gguf_file.preflight.values import values_problem
from localllm.gguf_file.preflight.vocabulary import vocabulary_problem
from localllm.gguf_file.reader import read_header
from localllm.gguf_file.split_names import split_name, split_paths, whole_stem

_HINT = "llama.cpp cannot run it; download or convert the model again"
_HINT_KIND = "name a language model"


def read_loadable(path: Path) -> GGUFHeader:
    """Read the header of the model that begins in `path`; check it and the files it is split into.

    Also what llama.cpp would report itself, such as a missing tensor, is refused here, in plain words. Raise
    NotFoundError when a file is missing, InvalidGGUFError for everything else.
    """
    header = read_header(path)
    require_loadable(header, str(path))
    tensors = list(header.tensors)
    count = header.integer(Key.SPLIT_COUNT) or 0
    for number, part in enumerate(_paths(path, count)) if count > 1 else ():
        if number:
            tensors += _read_part(part, number, count).tensors
    _refuse(layers_problem(header, tensors), str(path))
    return header


def require_loadable(header: GGUFHeader, label: str, *, to_run: bool = True) -> None:
    """Raise InvalidGGUFError when llama.cpp would not survive this file; `label` names it.

    Unless it is to be run, a file may also be something else than a language model. Of a split model only
    this file is checked; `read_loadable` checks all of them.
    """
    _refuse(_place(header) or values_problem(header), label)
    if to_run:
        _refuse(kind_problem(header), label, _HINT_KIND)
    _refuse(hyperparameter_problem(header) or vocabulary_problem(header) or tensors_problem(header), label)


def require_part_loadable(header: GGUFHeader, label: str) -> None:
    """Raise InvalidGGUFError when llama.cpp would not survive a later file of a split model."""
    _refuse(tensors_problem(header), label)


def _refuse(problem: str | None, label: str, hint: str = _HINT) -> None:
    if problem:
        raise InvalidGGUFError(f"{label}: {problem}", hint=hint)


def _place(header: GGUFHeader) -> str | None:
    number, count = header.integer(Key.SPLIT_NUMBER), header.integer(Key.SPLIT_COUNT)
    if number and count:
        return f"it is file {number + 1} of a model split into {count}; name the first one"
    return None


def _paths(first: Path, count: int) -> list[Path]:
    """Return where llama.cpp looks for the files of a split model."""
    found = split_name(first)
    if found is None or found.count != count:
        raise InvalidGGUFError(
            f"{first} is the first of {count} files, but its name does not say so",
            hint=f"name the files {whole_stem(first)}-00001-of-{count:05d}.gguf and so on",
        )
    return split_paths(first.with_name(found.stem), count)


def _read_part(path: Path, number: int, count: int) -> GGUFHeader:
    header = read_header(path)
    if (header.integer(Key.SPLIT_NUMBER), header.integer(Key.SPLIT_COUNT)) != (number, count):
        _refuse(f"it does not say that it is file {number + 1} of {count}", str(path))
    require_part_loadable(header, str(path))
    return header
