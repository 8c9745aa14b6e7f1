"""Tells whether what the server is made of is installed."""

from __future__ import annotations

from importlib.util import find_spec

from localllm.errors import ServerError

_PACKAGES = ("prometheus_client", "pydantic", "starlette", "uvicorn")


def require_extra() -> None:
    """Raise ServerError with the line that installs what is missing."""
    missing = [name for name in _PACKAGES if not _is_here(name)]
    if missing:
        raise ServerError(
            f"the server needs packages that are not installed: {', '.join(missing)}",
            hint="`pip install 'localllm[serve]'` installs them",
        )


def _is_here(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module without a specification, as one that was put in its place
        return False
