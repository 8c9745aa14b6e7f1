"""The command line with a comparison made by hand: `python -m tests.cli.compared compare demo …`.

COMPARED in the environment names one of `tests.report.examples`; SECONDS is how long each file takes. What it
was asked for goes to the file that ASKED names. Everything but the measuring is the real thing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from localllm.cli.app import main
from localllm.events import Advanced, Emit, Finished, Found, Started
from tests.report import examples


def compare(models: list[str], *, emit: Emit, **options: Any) -> Any:
    asked = os.environ.get("ASKED")
    if asked:
        Path(asked).write_text(json.dumps({"models": models, **options}, default=str), encoding="utf-8")
    result = _result()
    emit(Started("compare", len(result.measurements), "files"))
    for number, row in enumerate(result.measurements):
        emit(Advanced("compare", number, row.level))
        begun = replace(row, kl_divergence=None, same_top_token=None, error=None)
        emit(Found("compare", "measurement", json.loads(json.dumps(asdict(begun)))))
        time.sleep(float(os.environ.get("SECONDS", "0")))
        emit(Found("compare", "measurement", json.loads(json.dumps(asdict(row)))))
    emit(Finished("compare"))
    return result


def history(model: str | None = None) -> list[Any]:
    return [] if model == "unknown" else [_result(), examples.FAILED]


def last(model: str) -> Any:
    return None if model == "unknown" else _result()


def _result() -> Any:
    return getattr(examples, os.environ.get("COMPARED", "TWELVE"))


if __name__ == "__main__":
    stand_in = ModuleType("localllm.verbs.compare")
    stand_in.compare, stand_in.history, stand_in.last = compare, history, last  # type: ignore[attr-defined]
    sys.modules["localllm.verbs.compare"] = stand_in
    main()
