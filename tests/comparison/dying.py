"""A job that dies as llama.cpp can: at once, by a signal, with a last word on stderr."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from localllm.events import Emit


def die_job(arguments: dict[str, Any], emit: Emit) -> None:
    print("GGML_ASSERT(false) failed", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGABRT)
