"""JSON files of a checkpoint, read with a bound on their size."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localllm.errors import CheckpointError

MAX_JSON_BYTES = 256 * 1024 * 1024


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raise CheckpointError when it is huge or not JSON."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_JSON_BYTES} bytes")
    try:
        with _collector_paused():
            return json.loads(path.read_bytes().decode())
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "too deeply nested"
        raise CheckpointError(
            f"{path} is not valid JSON: {reason}", hint="it is damaged; copy or download it again"
        ) from None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking, over and over, at the lists that a large file consists of."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
