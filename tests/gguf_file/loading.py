"""Lets llama.cpp load files and decode one token in child processes, and finds those that kill it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localllm.errors import LocalLLMError, NativeCrashError
from localllm.events import Advanced, Emit, Event
from localllm.native.context import Context
from localllm.native.model import Model
from localllm.native.worker import run_job


def load_job(arguments: dict[str, Any], emit: Emit) -> int:
    """Load every file, tokenize, make a context and decode one token; return how many went well."""
    survived = 0
    for index, path in enumerate(arguments["paths"]):
        emit(Advanced("load", index))
        try:
            with Model(Path(path)) as model, Context(model, context_size=32, threads=1) as context:
                tokens = model.tokenize("ab cd\n\u00fc </s>", add_special=True, parse_special=True)
                context.decode(tokens[:1] or [0], start=0)
                context.synchronize()
                survived += 1
        except LocalLLMError:
            continue
    return survived


def killers(paths: Sequence[Path]) -> tuple[dict[Path, str], int]:
    """Return the files that kill llama.cpp, each with its last words, and how many decoded to the end."""
    found: dict[Path, str] = {}
    remaining = list(paths)
    while remaining:
        seen: list[Event] = []
        arguments = {"paths": [str(path) for path in remaining]}
        try:
            return found, run_job("tests.gguf_file.loading:load_job", arguments, emit=seen.append)
        except NativeCrashError as error:
            last = seen[-1]
            assert isinstance(last, Advanced)
            found[remaining[last.done]] = error.message
            del remaining[: last.done + 1]
    return found, 0
