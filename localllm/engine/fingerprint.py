"""What a saved state depends on, as one number: the model file, how it is run, template and adapters."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from localllm.engine.engine_options import EngineOptions
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.split_names import model_files

_STATE_VERSION = 1


def fingerprint_of(path: Path, header: GGUFHeader, options: EngineOptions, template: str) -> str:
    """Return a hex digest that changes when a state of before would be wrong now.

    The size of the context does not count: a state fits a larger one. Files are told apart by size and time
    of change, the model also by all of its header.
    """
    from importlib.metadata import version

    with path.open("rb") as file:
        head = hashlib.sha256(file.read(header.data_offset)).hexdigest()
    parts = {
        "state": _STATE_VERSION,
        "llama-cpp-python": version("llama-cpp-python"),
        "model": [head, *map(_identity, model_files(path))],
        "cache": [options.cache_type_k, options.cache_type_v, options.flash_attention],
        "template": template,
        "adapters": [[_identity(adapter), scale] for adapter, scale in options.adapters],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _identity(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
