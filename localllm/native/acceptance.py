"""Asks llama.cpp whether it loads a model, whose weights may be missing, in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localllm.errors import ModelLoadError, NativeCrashError
from localllm.events import Emit
from localllm.native.model import Model
from localllm.native.worker import run_job


def refusal(path: Path) -> str | None:
    """Return why llama.cpp does not load the model that begins in `path`, or how it dies of it.

    None when it does. The weights are not looked at: the file may have a hole in their place.
    """
    try:
        run_job("localllm.native.acceptance:load_job", {"path": str(path)})
    except ModelLoadError as error:
        return error.message.partition(f"{path}: ")[2]
    except NativeCrashError as error:
        return error.message
    return None


def load_job(arguments: dict[str, Any], emit: Emit) -> None:
    """Serve `refusal` in the child."""
    Model(Path(arguments["path"]), weightless=True).close()
