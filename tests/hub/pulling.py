"""What the tests of pulling share: models on the stand-in hub, and the command as a process against it."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

from tests.cli.process import COMMAND, ROOT, localllm
from tests.hub.stand_in import HubStandIn

DEMO = ROOT / "models" / "demo"
GGUF = "org/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
PATTERN = f"*{FILE}"
MIB = 1024 * 1024


def noise(path: Path, size_bytes: int, seed: int = 0) -> Path:
    """Write bytes that no range of can be taken for another."""
    generator = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size_bytes, 16 * MIB):
            file.write(generator.randbytes(min(16 * MIB, size_bytes - start)))
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def home_of(hub: HubStandIn, home: Path, **extra: str) -> dict[str, str]:
    """Return the environment of a user who has nothing yet."""
    return {
        **hub.environment(home),
        "LOCALLLM_HOME": str(home / "localllm"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3",
        **extra,
    }


def pull(env: dict[str, str], *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return localllm("pull", *arguments, env=env, timeout=timeout)


def pulling(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start `localllm pull`, to be stopped in the middle."""
    return subprocess.Popen(
        [*COMMAND, "pull", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def cached(home: Path, name: str = FILE) -> list[Path]:
    """Return the files of that name in the cache, wherever."""
    return [path for path in (home / "huggingface").rglob(name) if path.exists()]


def leftovers(home: Path) -> list[Path]:
    """Return parts of files, and temporary ones."""
    marks = (".incomplete", ".state", ".tmp", ".link")
    return [path for path in home.rglob("*") if path.name.endswith(marks)]
