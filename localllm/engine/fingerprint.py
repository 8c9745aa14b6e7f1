"""What a saved state depends on, as one number: the model file, how it is run, template and adapters."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from localllm.engine.engine_options import EngineOptions
from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.split_names import model_files

_STATE_VERSION = 1


class Fingerprint:
    """A number that changes when a state of before would be wrong now.

    The size of the context does not count: a state fits a larger one. Files are told apart by size and time
    of change as they are now, when they are loaded; the model also by all of its header.
    """

    def __init__(self, path: Path, header: GGUFHeader, options: EngineOptions, template: str) -> None:
        self._path = path
        self._header_bytes = header.data_offset
        self._files = _identities(path)
        self._parts = {
            "state": _STATE_VERSION,
            "cache": [options.cache_type_k, options.cache_type_v, options.flash_attention],
            "template": template,
            "adapters": [[_identity(adapter), scale] for adapter, scale in options.adapters],
        }

    @functools.cached_property
    def digest(self) -> str:
        """Return it in hexadecimal digits."""
        from importlib.metadata import version

        parts = {
            **self._parts,
            "llama-cpp-python": version("llama-cpp-python"),
            "files": self._files,
            "header": self._header_digest(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _header_digest(self) -> str | None:
        """Return the hash of the header, None when the file is another one by now: that fits nothing."""
        try:
            if _identities(self._path) != self._files:
                return None
            with self._path.open("rb") as file:
                return hashlib.sha256(file.read(self._header_bytes)).hexdigest()
        except OSError:
            return None


def _identities(path: Path) -> list[list[int]]:
    return [_identity(file) for file in model_files(path)]


def _identity(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
