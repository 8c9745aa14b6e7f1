"""Asks llama.cpp to tokenize with the vocabularies of GGUF files, in a child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.errors import ModelLoadError, NativeCrashError
from localllm.events import Advanced, Emit, Event
from localllm.native.model import Model
from localllm.native.worker import run_job


@dataclass(frozen=True)
class Tokenized:
    """Token ids, one list per text: `plain` takes control tokens for text, `special` parses them.

    `size` is the number of tokens in the vocabulary.
    """

    size: int
    plain: list[list[int]]
    special: list[list[int]]


def tokenize_with_file(
    path: Path, texts: Sequence[str], special_texts: Sequence[str] = (), *, whole: bool = False
) -> Tokenized:
    """Tokenize `texts` without and `special_texts` with parsing control tokens, neither with BOS and EOS.

    Raise ModelLoadError when llama.cpp cannot load the vocabulary or, with `whole`, the model that may be
    without its weights.
    """
    texts, special_texts = list(texts), list(special_texts)
    arguments = {"path": str(path), "whole": whole, "texts": texts, "special_texts": special_texts}
    return Tokenized(**run_job("localllm.native.vocabulary:tokenize_job", arguments))


def agreements(
    paths: Sequence[Path],
    texts: Sequence[str],
    expected: Sequence[Sequence[int]],
    advanced: Callable[[int], None] = lambda done: None,
) -> list[int | None]:
    """Return for each file how many of the texts llama.cpp tokenizes as expected.

    None stands for a file llama.cpp refuses or dies of. `advanced` hears how many files are done.
    """
    texts_and_ids = {"texts": list(texts), "expected": [list(ids) for ids in expected]}
    counts: list[int | None] = []

    def collect(event: Event) -> None:
        if isinstance(event, Advanced):
            counts.append(int(event.detail) if event.detail else None)
            advanced(len(counts))

    while len(counts) < len(paths):
        arguments = {"paths": [str(path) for path in paths[len(counts) :]], **texts_and_ids}
        try:
            run_job("localllm.native.vocabulary:agreements_job", arguments, emit=collect)
        except NativeCrashError:
            collect(Advanced("", 0))
    return counts


def tokenize_job(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Serve `tokenize_with_file` in the child."""
    whole = arguments["whole"]
    with Model(Path(arguments["path"]), vocabulary_only=not whole, weightless=whole) as model:
        return {
            "size": model.vocabulary_size,
            "plain": [_tokenize(model, text) for text in arguments["texts"]],
            "special": [_tokenize(model, text, parse_special=True) for text in arguments["special_texts"]],
        }


def agreements_job(arguments: dict[str, Any], emit: Emit) -> None:
    """Serve `agreements` in the child: emit a count for each file, so that they outlive it."""
    pairs = list(zip(arguments["texts"], arguments["expected"], strict=True))
    for done, path in enumerate(arguments["paths"], start=1):
        try:
            with Model(Path(path), vocabulary_only=True) as model:
                count = sum(_tokenize(model, text) == ids for text, ids in pairs)
        except ModelLoadError:
            emit(Advanced("", done))
        else:
            emit(Advanced("", done, str(count)))


def _tokenize(model: Model, text: str, *, parse_special: bool = False) -> list[int]:
    return model.tokenize(text, add_special=False, parse_special=parse_special)
