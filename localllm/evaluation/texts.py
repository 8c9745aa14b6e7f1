"""Which texts a model is evaluated on: those given, else its own, else the sample of localllm's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localllm.library import provenance
from localllm.store import DEMO, model_name, shipped_checkpoint

OWN = "eval.txt"
SAMPLE = Path(__file__).parent / "sample.txt"


def evaluation_texts(models: Sequence[Path], given: Sequence[Path] = ()) -> tuple[list[Path], str]:
    """Return the text files to evaluate a model on, and where they are from: "given", "model" or "sample".

    `models` are GGUF files and directories with checkpoints, all of one model. Its own text is the `eval.txt`
    beside one of them, beside what a file of the library was made from, or the demo's.
    """
    if given:
        return [path.expanduser() for path in given], "given"
    own = next(filter(None, map(_own_text, models)), None)
    return ([own], "model") if own else ([SAMPLE], "sample")


def _own_text(model_path: Path) -> Path | None:
    directory = model_path if model_path.is_dir() else model_path.parent
    candidates = [directory / OWN]
    record = provenance.read(model_path)
    if record is not None and record.made is not None:
        source = Path(record.made.source)
        candidates.append((source if source.is_dir() else source.parent) / OWN)
    demo = shipped_checkpoint(DEMO) if model_name(model_path) == DEMO else None
    if demo is not None:
        candidates.append(demo / OWN)
    return next((path for path in candidates if path.is_file()), None)
