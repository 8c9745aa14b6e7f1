"""Signals and full disks at bad moments: the right exit status, and no file that is not complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.gguf_file.writer import GGUFWriter, TensorEntry, float32, string, uint32
from tests.cli.process import COMMAND, environment, files_below, localllm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

_WIDTH, _LAYERS = 1024, 8
_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output")


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of 33 M weights: quantizing it on one thread takes seconds per level."""
    path = tmp_path_factory.mktemp("slow") / "slow-F16.gguf"
    f16 = TENSOR_TYPES_BY_NAME["F16"]
    entries = [
        TensorEntry(f"blk.{layer}.{name}.weight", (_WIDTH, _WIDTH), f16)
        for layer in range(_LAYERS)
        for name in _MATRICES
    ]
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": uint32(_LAYERS),
        "llama.context_length": uint32(64),
        "llama.embedding_length": uint32(_WIDTH),
        "llama.feed_forward_length": uint32(_WIDTH),
        "llama.attention.head_count": uint32(8),
        "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
    }
    pattern = bytes(range(56)) * (_WIDTH * _WIDTH * 2 // 56 + 1)  # finite f16 values of many sizes
    with path.open("wb") as file:
        writer = GGUFWriter(file, metadata, entries)
        for entry in entries:
            writer.write_tensor(entry.name, [pattern[: _WIDTH * _WIDTH * 2]])
        writer.finish()
    return path


def start_quantizing(source: Path, target: Path) -> subprocess.Popen[bytes]:
    """Start a long quantization and wait until the part file is being written."""
    process = subprocess.Popen(
        [*COMMAND, "quantize", str(source), "-q", "Q2_K", "-o", str(target), "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    deadline = time.monotonic() + 60
    while not list(target.parent.glob(".*.part-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline, "a child survived"
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_quantizing_and_leaves_nothing(
    sent: signal.Signals, slow_model: Path, tmp_path: Path
) -> None:
    process = start_quantizing(slow_model, tmp_path / "out.gguf")
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(sent)
    process.communicate(timeout=20)
    assert process.returncode == 130
    wait_until_gone(children)
    assert files_below(tmp_path) == set()


def test_a_killed_run_leaves_no_final_file_and_the_next_cleans_up(slow_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    process = start_quantizing(slow_model, target)
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    process.communicate(timeout=20)
    wait_until_gone(children)
    assert not target.exists()
    result = localllm("quantize", slow_model, "-q", "Q8_0", "-o", target)
    assert result.returncode == 0, result.stderr
    assert files_below(tmp_path) == {target}


def test_a_dying_child_is_an_error_with_a_reason(slow_model: Path, tmp_path: Path) -> None:
    process = start_quantizing(slow_model, tmp_path / "out.gguf")
    (child,) = psutil.Process(process.pid).children(recursive=True)
    child.send_signal(signal.SIGKILL)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"was killed by SIGKILL" in stderr
    assert b"hint: " in stderr
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("command", ["convert", "quantize"])
def test_a_full_disk_is_one_line(command: str, demo_checkpoint: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the disk: the kernel refuses to let files grow past it."""
    extra = ["-q", "Q8_0"] if command == "quantize" else []
    arguments = [*COMMAND, command, str(demo_checkpoint), "-o", str(tmp_path / "out.gguf"), *extra]
    result = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=limit_file_size,
        check=False,
        timeout=120,
    )
    assert result.returncode == 1, result.stderr
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert files_below(tmp_path) == set()


def limit_file_size() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def test_a_read_only_directory_is_one_line(demo_checkpoint: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    result = localllm("convert", demo_checkpoint, "-o", tmp_path / "out.gguf")
    assert result.returncode == 1
    assert "cannot write" in result.stderr
