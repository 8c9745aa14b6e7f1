"""The environment every test runs in: no terminal, no home, no network; and the tiny models they share."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.tiny_gguf import build_tiny_gguf

settings.register_profile(
    "localllm",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("localllm")

# the tests start hundreds of processes: without bytecode on disk each one compiles all that it imports
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_MATERIAL = os.environ.get("LOCALLLM_MATERIAL")
_FOREIGN_PREFIXES = ("HF_", "HUGGINGFACE_", "LOCALLLM_", "LLAMA_", "GGML_", "XDG_")
_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def pinned_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pin what the program reads from its environment; return the temporary home."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN_PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("LOCALLLM_HOME", str(home / "localllm"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):
            raise RuntimeError(f"a test tried to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_works() -> None:
    """Undo an ignored SIGINT, which a pytest started in the background would hand down to its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def material() -> Path:
    """Real tokenizers, configurations and files, kept outside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "material"
    directory = Path(_MATERIAL) if _MATERIAL else default
    if not directory.is_dir():
        pytest.skip("needs the test material: set LOCALLLM_MATERIAL to its directory")
    return directory


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loadable model 256 wide with a SentencePiece-like vocabulary; not to be changed."""
    return build_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny-F32.gguf")


@pytest.fixture(scope="session")
def narrow_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest loadable model, one layer 64 wide: for tests that load or copy it often."""
    return build_tiny_gguf(tmp_path_factory.mktemp("narrow") / "narrow-F32.gguf", width=64, layers=1)


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
