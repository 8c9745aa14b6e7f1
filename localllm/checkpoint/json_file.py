"""JSON files of a checkpoint, read with a bound on their size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localllm.errors import CheckpointError

MAX_JSON_BYTES = 256 * 1024 * 1024


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raise CheckpointError when it is huge or not JSON."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path} is larger than {MAX_JSON_BYTES} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "too deeply nested"
        raise CheckpointError(
            f"{path} is not valid JSON: {reason}", hint="it is damaged; copy or download it again"
        ) from None
