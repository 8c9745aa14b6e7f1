"""Puts text on the clipboard: through a program of the desktop, or, when asked to, through the terminal."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from localllm.errors import LocalLLMError

_SECONDS = 5
_WINDOWS = ("clip", "clip.exe")
_MAX_TERMINAL_BYTES = 74_994  # what xterm takes


def copy(text: str) -> str:
    """Copy `text` and return the program that took it. Raise LocalLLMError when there is none."""
    for command in _programs():
        if shutil.which(command[0]) is None:
            continue
        encoded = text.encode("utf-16" if command[0] in _WINDOWS else "utf-8", "replace")
        try:
            subprocess.run(
                command,
                input=encoded,
                stdout=subprocess.DEVNULL,  # xclip stays in the background, and would keep a pipe open
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return command[0]
    raise LocalLLMError(
        "there is no program for the clipboard here",
        hint="install wl-clipboard or xclip, or try `/copy terminal`, which also works over ssh",
    )


def terminal_sequence(text: str) -> str:
    """Return what makes a terminal copy `text` (OSC 52). Raise LocalLLMError for what is too long."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > _MAX_TERMINAL_BYTES:
        raise LocalLLMError(f"{len(encoded)} bytes are too many for a terminal's clipboard")
    return f"\x1b]52;c;{base64.b64encode(encoded).decode('ascii')}\x07"


def _programs() -> list[Sequence[str]]:
    if sys.platform == "darwin":
        return [("pbcopy",)]
    if sys.platform == "win32":
        return [_WINDOWS[:1]]
    wayland = [("wl-copy",)] if os.environ.get("WAYLAND_DISPLAY") else []
    x11 = [("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input")]
    return [*wayland, *(x11 if os.environ.get("DISPLAY") else []), ("termux-clipboard-set",), _WINDOWS[1:]]
