"""Compiles JSON schemas to grammars and checks grammars, in a child process: both may loop or abort.

The compiler is the binding's own (llama_cpp.llama_grammar), with its known faults put right in
`schema_grammar`. What llama.cpp says about a broken grammar it prints; the child catches that.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.errors import UsageError
from localllm.native.confined import Confined, ConfinementError

TIME_LIMIT_SECONDS = 2.0
MEMORY_LIMIT_MEGABYTES = 2048
_MAX_GRAMMAR_CHARACTERS = 4 * 1024 * 1024
_LOAD_SECONDS = 60.0
_MODULE = "localllm.native.grammar"
_COMPLAINT = re.compile(r"error parsing grammar: (.*)")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Grammar:
    """A grammar that llama.cpp accepts; `ignored` are the schema's keywords that it does not enforce."""

    text: str
    ignored: tuple[str, ...] = ()


def check_grammar(text: str, model: Path) -> Grammar:
    """Check GBNF for the model in the file `model`. Raise UsageError with llama.cpp's own words."""
    if "\0" in text:
        raise UsageError("the grammar is broken: it contains a zero byte")
    with _Compiler() as compiler:
        compiler.check(text, model)
    return Grammar(text)


def compile_schema(schema: str, model: Path) -> Grammar:
    """Return the grammar of a JSON schema. Raise UsageError when it cannot be made."""
    with _Compiler() as compiler:
        made = compiler.call("compile_job", {"schema": schema}, "the JSON schema")
        compiler.check(made["grammar"], model)
    return Grammar(made["grammar"], tuple(made["ignored"]))


class _Compiler:
    """The child process that works on one grammar."""

    def __init__(self) -> None:
        self._child = Confined(MEMORY_LIMIT_MEGABYTES, preload=_MODULE)

    def __enter__(self) -> _Compiler:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close()

    def check(self, grammar: str, model: Path) -> None:
        self.call("load_job", {}, "llama.cpp", _LOAD_SECONDS)
        complaint = self.call("check_job", {"grammar": grammar, "model": str(model)}, "the grammar")
        if complaint is not None:
            raise UsageError(f"the grammar is broken: {complaint}")

    def call(
        self, job: str, arguments: dict[str, Any], subject: str, seconds: float = TIME_LIMIT_SECONDS
    ) -> Any:
        try:
            return self._child.call(f"{_MODULE}:{job}", arguments, seconds)
        except ConfinementError as error:
            if error.stopped:
                raise UsageError(f"{subject} is too complex: compiling it {error.message}") from None
            raise UsageError(f"{subject} cannot be used: {error.message}") from None


# in the child ---------------------------------------------------------------------------------


def load_job(arguments: dict[str, Any]) -> None:
    """Load the libraries, whose time is not the grammar's."""
    from localllm.native.library import llama

    llama()


def compile_job(arguments: dict[str, Any]) -> dict[str, Any]:
    """Serve `compile_schema`."""
    from localllm.native.schema_grammar import grammar_of

    try:
        grammar, ignored = grammar_of(arguments["schema"])
    except (AttributeError, IndexError, KeyError, TypeError):
        raise ValueError("it is not a valid schema") from None
    except AssertionError as error:
        raise ValueError(str(error)) from None
    if len(grammar) > _MAX_GRAMMAR_CHARACTERS:
        raise ValueError(f"its grammar would be {len(grammar)} characters long")
    return {"grammar": grammar, "ignored": ignored}


def check_job(arguments: dict[str, Any]) -> str | None:
    """Serve `check_grammar`: return what is wrong, or None."""
    grammar = arguments["grammar"].encode()
    complaint = _complaint_about(grammar, None)
    if complaint is None or "no vocab" not in complaint:
        return complaint
    from localllm.native.model import Model

    with Model(Path(arguments["model"]), vocabulary_only=True) as model:
        return _complaint_about(grammar, model.vocabulary)


def _complaint_about(grammar: bytes, vocabulary: Any) -> str | None:
    """Let llama.cpp read the grammar; return what it prints when it refuses."""
    from localllm.native import logs
    from localllm.native.library import llama

    library = llama()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sampler = library.llama_sampler_init_grammar(vocabulary, grammar, b"root")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        if sampler:
            library.llama_sampler_free(sampler)
            return None
        file.seek(0)
        printed = file.read().decode("utf-8", "replace")
    found = _COMPLAINT.search(printed)
    said = found.group(1) if found else next(iter(logs.last_errors()), "llama.cpp does not say why")
    return said if len(said) <= _SHOWN_CHARACTERS * 2 else said[: _SHOWN_CHARACTERS * 2] + "…"
