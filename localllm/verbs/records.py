"""What the verbs write down about their results: how a model of the library was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localllm.events import Emit
from localllm.gguf_file.split_names import model_files
from localllm.library.provenance import Made, origin_of, record


def record_made(
    command: str,
    path: Path,
    source: Path,
    *,
    adapters: Sequence[Path] = (),
    options: Mapping[str, Any] | None = None,
    imatrix: Path | None = None,
    emit: Emit,
) -> None:
    """Write down how the model at `path` came about, if it is in the library; only options with a value.

    It fails nothing: what goes wrong becomes a Notice.
    """
    given = {name: value for name, value in (options or {}).items() if value not in (None, (), "", False)}
    made = Made(
        command=command,
        source=str(source.absolute()),
        origin=origin_of(source),
        adapters=tuple(str(adapter.absolute()) for adapter in adapters),
        options=given,
        imatrix=None if imatrix is None else str(imatrix.absolute()),
    )
    record([path] if path.is_dir() else model_files(path), made, emit=emit)
