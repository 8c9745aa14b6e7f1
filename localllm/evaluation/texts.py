"""Which texts a model is evaluated on: those given, else its own, else the sample of localllm's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localllm.store import DEMO, model_name, shipped_checkpoint

OWN = "eval.txt"
SAMPLE = Path(__file__).parent / "sample.txt"


def evaluation_texts(model_path: Path, given: Sequence[Path] = ()) -> tuple[list[Path], str]:
    """Return the text files to evaluate a model on, and where they are from: "given", "model" or "sample".

    `model_path` is a GGUF file or a directory with a checkpoint. Its own text is the `eval.txt` beside it, or
    the demo's.
    """
    if given:
        return [path.expanduser() for path in given], "given"
    own = _own_text(model_path)
    return ([own], "model") if own else ([SAMPLE], "sample")


def _own_text(model_path: Path) -> Path | None:
    directory = model_path if model_path.is_dir() else model_path.parent
    candidates = [directory / OWN]
    demo = shipped_checkpoint(DEMO) if model_name(model_path) == DEMO else None
    if demo is not None:
        candidates.append(demo / OWN)
    return next((path for path in candidates if path.is_file()), None)
