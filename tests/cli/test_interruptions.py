"""A full disk and a read-only place while converting; test_quantize_faults has signals and more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import COMMAND, environment, files_below, localllm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def test_a_full_disk_is_one_line(demo_checkpoint: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the disk: the kernel refuses to let files grow past it."""
    result = subprocess.run(
        [*COMMAND, "convert", str(demo_checkpoint), "-o", str(tmp_path / "out.gguf")],
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
