"""What engines have read of saved conversations, on disk, so that resuming one need not read it again.

Of each session there is one state, `$LOCALLLM_HOME/states/<id>.state`, and beside it `<id>.json`, which tells
for which engine it is good and what it must contain. All of them together stay below a limit, 2 GiB unless
`$LOCALLLM_STATES_SIZE` says otherwise (such as 500M or 8G; 0 keeps none): the oldest go first. Losing a
state loses nothing but time; what does not fit or is damaged is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from localllm.conversation import now
from localllm.engine import Engine
from localllm.errors import LocalLLMError, StateError
from localllm.events import Emit, Notice, ignore
from localllm.home import home_directory, make_private
from localllm.publication import remove_stale_parts, replacing
from localllm.units import format_bytes, parse_bytes

LIMIT_VARIABLE = "LOCALLLM_STATES_SIZE"
DEFAULT_LIMIT_BYTES = 2 * 1024**3
_SCHEMA = 1
_STATE, _FACTS = ".state", ".json"
_LONGEST_FACTS = 64 * 1024


def states_directory() -> Path:
    """Return where states are kept (it may not exist yet)."""
    return home_directory() / "states"


def keep_state(
    engine: Engine, session_id: str, *, limit_bytes: int | None = None, emit: Emit = ignore
) -> bool:
    """Keep what the engine has read under the id of a session; tell whether that was done.

    Others are removed, oldest first, until all together take at most `limit_bytes`. Nothing is raised: what
    goes wrong is told in a Notice.
    """
    limit = _limit(emit) if limit_bytes is None else limit_bytes
    if not engine.can_keep_state or limit <= 0:
        return False
    target = states_directory() / f"{session_id}{_STATE}"
    try:
        make_private(target.parent)
        remove_stale_parts(target)
        with replacing(target, mode=0o600) as part:
            info = engine.save_state(part)
            size = part.stat().st_size
            if size > limit:
                emit(
                    Notice(
                        f"what the model has read takes {format_bytes(size)}, more than the limit of "
                        f"{format_bytes(limit)}: when it is resumed, the conversation is read again",
                        hint=f"`{LIMIT_VARIABLE}=8G` raises the limit",
                        topic="state",
                    )
                )
                part.unlink()
                _discard(target)
                return False
            facts = {
                "schema": _SCHEMA,
                "fingerprint": engine.fingerprint,
                "tokens": info.tokens,
                "size_bytes": size,
                "sha256": _digest(part),
                "created": now(),
            }
            _evict(limit - size, but=target)
            _discard(target)  # never a new state with old facts
        _write_facts(target, facts)
    except (OSError, LocalLLMError) as error:
        emit(Notice(f"what the model has read could not be kept: {_reason(error)}", topic="state"))
        return False
    return True


def restore_state(engine: Engine, session_id: str, *, emit: Emit = ignore) -> int | None:
    """Bring back what the engine had read of a session and return how many tokens that are.

    Return None when there is no state or it is of no use, which is told in a Notice; the conversation is
    then read again.
    """
    target = states_directory() / f"{session_id}{_STATE}"
    if not engine.can_keep_state or not target.exists():
        return None
    try:
        _require_right(target, engine.fingerprint)
        tokens = engine.load_state(target)
    except (OSError, LocalLLMError) as error:
        remove_state(session_id)
        emit(Notice(f"the conversation is read again: {_reason(error)}", topic="state"))
        return None
    with suppress(OSError):
        os.utime(target)
    return tokens


def remove_state(session_id: str) -> None:
    """Remove the state of a session, if there is one."""
    with suppress(OSError):
        _discard(states_directory() / f"{session_id}{_STATE}")


def states_size_bytes() -> int:
    """Return what all states together take on disk."""
    return sum(size for _, size, _ in _kept())


def _require_right(state: Path, fingerprint: str) -> None:
    """Raise StateError when a state is for another engine or not what was written."""
    facts = _read_facts(state)
    if facts is None:
        raise StateError("what is known of its state cannot be read")
    if facts.get("fingerprint") != fingerprint:
        raise StateError("its state is of another model, other settings or another version")
    if facts.get("size_bytes") != state.stat().st_size or facts.get("sha256") != _digest(state):
        raise StateError("its state is damaged")


def _read_facts(state: Path) -> dict[str, Any] | None:
    try:
        with state.with_suffix(_FACTS).open("rb") as file:
            facts = json.loads(file.read(_LONGEST_FACTS))
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and facts.get("schema") == _SCHEMA else None


def _write_facts(state: Path, facts: dict[str, Any]) -> None:
    with replacing(state.with_suffix(_FACTS), mode=0o600) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept() -> list[tuple[float, int, Path]]:
    """Return when each state was last used, its size in bytes and its path, oldest first."""
    found = []
    with suppress(OSError):
        for path in states_directory().iterdir():
            if path.suffix == _STATE and not path.name.startswith("."):
                with suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
    return sorted(found)


def _evict(limit_bytes: int, but: Path) -> None:
    """Remove the states used longest ago until the others take at most so many bytes."""
    kept = [each for each in _kept() if each[2] != but]
    total = sum(size for _, size, _ in kept)
    for _, size, path in kept:
        if total <= limit_bytes:
            return
        _discard(path)
        total -= size


def _discard(state: Path) -> None:
    state.with_suffix(_FACTS).unlink(missing_ok=True)
    state.unlink(missing_ok=True)


def _limit(emit: Emit) -> int:
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_LIMIT_BYTES
    if text == "0":
        return 0
    try:
        return parse_bytes(text)
    except ValueError:
        emit(Notice(f"{LIMIT_VARIABLE}={text} is no size", hint="write it like 500M or 8G", topic="state"))
        return DEFAULT_LIMIT_BYTES


def _reason(error: OSError | LocalLLMError) -> str:
    if isinstance(error, LocalLLMError):
        return error.message
    return error.strerror or str(error)
