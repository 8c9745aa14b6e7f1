"""What is done is done: a comparison that was stopped goes on where it was, and leaves nothing temporary."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.comparison.places import comparisons_directory
from tests.cli.process import environment

SCRIPT = Path(__file__).with_name("interruptible.py")
# smallest first: the order in which files are measured
LEVELS = ["Q2_K", "Q3_K_M", "Q4_K_M", "Q6_K", "BF16"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


@pytest.fixture(scope="module", autouse=True)
def _ctrl_c_works() -> None:
    """Undo an ignored SIGINT, which a pytest started in the background would hand down to its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def files(demo_files: dict[str, Path], tmp_path: Path) -> list[Path]:
    """Five files of the demo: two of those that are made anyway, more would take time."""
    from localllm.pipeline import quantize_model
    from localllm.quantization.levels import parse_levels

    made = [(level, tmp_path / f"demo-{level.name}.gguf") for level in parse_levels(["Q3_K_M,Q6_K"])]
    quantize_model(demo_files["BF16"], made)
    return [*(path for _, path in made), demo_files["Q2_K"], demo_files["Q4_K_M"], demo_files["BF16"]]


def start(*words: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(env))


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return (line.rstrip("\n") for line in process.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_measured_is_not_measured_again(number: int, files: list[Path]) -> None:
    process = start(*files, "quality=false")
    seen: list[str] = []
    for line in lines(process):
        seen.append(line)
        if seen.count("measuring") == 4:
            process.send_signal(number)
            break
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert seen == [word for level in LEVELS[:4] for word in (f"at {level}", "measuring")]

    again = start(*files, "quality=false")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0
    *steps, result = output.splitlines()
    # the fourth was in the middle of it
    assert steps == [*(f"at {level}" for level in LEVELS[:4]), "measuring", "at BF16", "measuring"]
    assert json.loads(result) == [[level, None] for level in LEVELS]


def test_files_that_are_not_kept_are_gone_after_ctrl_c(tmp_path: Path) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    process = start(
        "demo", "keep=false", "quality=false", 'levels=["Q2_K","Q8_0"]', env={"TMPDIR": str(place)}
    )
    for line in lines(process):
        if line == "measuring":
            assert sorted(path.name for path in place.rglob("*.gguf")) == [
                "demo-BF16.gguf",
                "demo-Q2_K.gguf",
                "demo-Q8_0.gguf",
            ]
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode != 0
    deadline = time.monotonic() + 10
    while list(place.glob("localllm-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(place.glob("localllm-*")) == []
    assert not list(comparisons_directory().parent.rglob("*.gguf"))


def test_two_at_once_do_not_disturb_each_other(demo_files: dict[str, Path]) -> None:
    models = [demo_files["Q2_K"], demo_files["Q8_0"], demo_files["BF16"]]
    both = [start(*models, "max_chunks=2", "speed=false") for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0
        assert json.loads(output.splitlines()[-1]) == [["Q2_K", None], ["Q8_0", None], ["BF16", None]]
    assert len(list((comparisons_directory() / "runs").glob("*.json"))) == 2
