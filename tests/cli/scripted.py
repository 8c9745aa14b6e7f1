"""The command line with an engine that says what it is told to: `python -m tests.cli.scripted chat …`.

SCRIPT in the environment names a JSON file: `answers`, `seconds` before every piece, `by_character` for the
smallest pieces, and whatever else ScriptedEngine takes. Everything but the engine is the real thing. To load
the model `slow` takes long.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localllm.cli.app import main
from localllm.cli.chat import opening
from localllm.engine import Chunk, Engine, SamplingOptions, ScriptedEngine
from localllm.engine.base import Messages


class SlowEngine(ScriptedEngine):
    """A ScriptedEngine that takes its time."""

    def __init__(self, answers: list[str], *, seconds: float, by_character: bool, **options: Any) -> None:
        super().__init__(answers, **options)
        self._seconds = seconds
        self._by_character = by_character

    def stream(self, messages: Messages, options: SamplingOptions) -> Iterator[Chunk]:
        for chunk in super().stream(messages, options):
            pieces = list(chunk.text) if self._by_character else [chunk.text]
            for piece in pieces[:-1]:
                time.sleep(self._seconds)
                yield Chunk(piece, chunk.index)
            time.sleep(self._seconds)
            yield Chunk(pieces[-1] if pieces else "", chunk.index, chunk.finish_reason, chunk.statistics)


def script(directory: Path, *answers: str, **more: Any) -> dict[str, str]:
    """Return the environment of a stand-in that gives these answers in turn."""
    path = directory / "script.json"
    path.write_text(json.dumps({"answers": answers, **more}), encoding="utf-8")
    return {"SCRIPT": str(path)}


def load(reference: str, **_: Any) -> Engine:
    if reference == "slow":
        time.sleep(30)
    script = json.loads(Path(os.environ["SCRIPT"]).read_text(encoding="utf-8"))
    return SlowEngine(**{"seconds": 0.0, "by_character": False, "name": reference, **script})


if __name__ == "__main__":
    opening.load = load  # type: ignore[assignment]
    opening.have = opening.resolve = lambda *_, **__: None  # type: ignore[assignment]
    main()
