"""Lets llama.cpp load files, tokenize and decode in child processes, and finds those that kill it.

`python -m tests.gguf_file.loading` is the child: paths come in on standard input, one a line, and what
became of each goes out. It does what the commands do with a file that passed the preflight.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from localllm.errors import LocalLLMError
from localllm.native.context import Context
from localllm.native.dry_run import dry_run_job
from localllm.native.model import Model

_TEXT = "ab cd\n\u00fc </s> 12 \u65e5\U0001f600\x00"
_Q4_K_M = 15
_HANG_SECONDS = 60
_MOST_MEMORY = 6 * 2**30


@dataclass
class Outcome:
    """The files that killed llama.cpp, each with its last words, and how many decoded to the end."""

    killers: dict[Path, str] = field(default_factory=dict)
    survived: int = 0


def load_all(paths: Sequence[Path]) -> Outcome:
    """Load every file in children; a child that dies is followed by one for the files behind."""
    outcome = Outcome()
    remaining = list(paths)
    while remaining:
        done, last_words = _run_child(remaining, outcome)
        if done < len(remaining):
            outcome.killers[remaining[done]] = last_words
        del remaining[: done + 1]
    return outcome


def _run_child(paths: Sequence[Path], outcome: Outcome) -> tuple[int, str]:
    """Return how many files were done, and what the child said before it died."""
    done = 0
    with tempfile.TemporaryFile() as stderr:
        command = [sys.executable, "-m", "tests.gguf_file.loading"]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        assert child.stdin is not None
        assert child.stdout is not None
        feeder = threading.Thread(target=_feed, args=(child, paths))
        feeder.start()
        while True:
            guard = threading.Timer(_HANG_SECONDS, child.kill)
            guard.start()
            line = child.stdout.readline()
            guard.cancel()
            if not line:
                break
            done += 1
            outcome.survived += line == "decoded\n"
        feeder.join()
        child.stdout.close()
        code = child.wait()
        stderr.seek(0)
        text = stderr.read().decode("utf-8", "replace").strip().splitlines()
    return done, f"exit {code}: {' | '.join(text[-3:])}"


def _feed(child: subprocess.Popen[str], paths: Sequence[Path]) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):
        child.stdin.writelines(f"{path}\n" for path in paths)
        child.stdin.close()


def main() -> None:
    """Serve `load_all` in the child."""
    _limit_memory()
    for line in sys.stdin:
        print(_load(Path(line.rstrip("\n"))), flush=True)


def _load(path: Path) -> str:
    """Load the vocabulary, the quantizer's view and the model; tokenize, decode; return how far it went."""
    result = "refused"
    with suppress(LocalLLMError), Model(path, vocabulary_only=True) as model:
        result = "vocabulary"
        _tokenize(model)
    with suppress(LocalLLMError):
        dry_run_job({"path": str(path), "file_types": [_Q4_K_M], "options": {}}, lambda event: None)
    with suppress(LocalLLMError), Model(path) as model, Context(model, context_size=64, threads=1) as context:
        tokens = [token for token in _tokenize(model) if 0 <= token < model.vocabulary_size][:7] or [0]
        context.decode(tokens, start=0)
        context.decode(tokens[-1:], start=len(tokens))
        context.synchronize()
        context.forget_from(2)
        result = "decoded"
    return result


def _tokenize(model: Model) -> list[int]:
    tokens = model.tokenize(_TEXT, add_special=True, parse_special=True)
    for token in range(min(600, model.vocabulary_size)):
        model.piece(token, special=True)
        model.is_end(token)
    for token in (model.bos, model.eos):  # as the engine does
        if 0 <= token < model.vocabulary_size:
            model.piece(token, special=True)
    return tokens


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
