"""`localllm quantize` when something goes wrong: signals, full disks, bad files, bad names.

After every fault: the exit status, one error line and no traceback on stderr, no file under a final name, no
part file and no temporary one, and everything that was there before byte for byte as it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from localllm.conversion.convert import convert
from localllm.gguf_file import read_header
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME, Key, ValueType
from localllm.gguf_file.writer import array, float32, string, uint32
from localllm.imatrix.writing import CHUNK_COUNT, CHUNK_SIZE, COUNTS, DATASETS, SUMS, TYPE
from localllm.store import DEMO_PERSONA, shipped_checkpoint
from tests.cli.process import COMMAND, environment
from tests.gguf_file.raw import HUGE, array_pair, gguf_bytes
from tests.quantization.making import some_matrix
from tests.tiny_gguf import RawTensor, build_tiny_gguf, raw_tensor, write_gguf

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, disks and names")

LONGEST_SECONDS = 5  # from Ctrl-C to the end; 1 is promised, but the machine may be busy
_SAID = ("error: ", "hint: ", "note: ", "fixed: ")


# A place to run in


@dataclass(frozen=True)
class Scene:
    """A directory that holds all a run could write to: its outputs, the library, temporary files."""

    root: Path

    @classmethod
    def below(cls, root: Path) -> Scene:
        scene = cls(root)
        for directory in (scene.place, scene.temporary):
            directory.mkdir(parents=True)
        return scene

    @property
    def place(self) -> Path:
        """Where the command runs."""
        return self.root / "place"

    @property
    def temporary(self) -> Path:
        return self.root / "temporary"

    @property
    def environment(self) -> dict[str, str]:
        slow = {"LOCALLLM_KERNELS": "off"}  # there must be time for something to happen
        return environment({"TMPDIR": str(self.temporary), "LOCALLLM_HOME": str(self.root / "home"), **slow})

    def contents(self) -> dict[str, str]:
        """Return every file with a checksum; directories, links and pipes have none.

        That a model was used is noted whatever becomes of it.
        """
        notes = self.root / "home" / "used"
        return {
            str(path.relative_to(self.root)): checksum(path) if is_plain(path) else ""
            for path in self.root.rglob("*")
            if path != notes and notes not in path.parents and path not in notes.parents
        }

    def parts(self) -> list[Path]:
        return list(self.place.rglob(".*.part-*"))

    def processes(self) -> list[psutil.Process]:
        """Return whatever still runs of what was started here, found by its environment."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                is_ours = process.environ().get("TMPDIR") == str(self.temporary)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene.below(tmp_path / "scene")
    yield scene
    for process in scene.processes():  # of a test that failed
        process.kill()


def is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


@dataclass(frozen=True)
class Outcome:
    """How a run ended, with its directory before and after."""

    status: int
    stdout: str
    stderr: str
    before: dict[str, str]
    after: dict[str, str]


class Run:
    """A running `localllm quantize` in a process group of its own, as a shell starts one."""

    def __init__(self, scene: Scene, *arguments: str | Path, **options: Any) -> None:
        self.scene = scene
        self.before = scene.contents()
        self.process = subprocess.Popen(
            [*COMMAND, "quantize", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=scene.place,
            env=scene.environment,
            start_new_session=True,
            **options,
        )

    def wait_until(self, happens: Callable[[Run], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not happens(self):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        """Signal the whole group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def child(self) -> psutil.Process | None:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return children[0] if children else None

    def end(self, seconds: float = 120) -> Outcome:
        stdout, stderr = self.process.communicate(timeout=seconds)
        status = self.process.returncode
        return Outcome(
            # `python -m` dies of the very signal when it cut an import short; a shell says 130 either way
            status if status >= 0 else 128 - status,
            stdout.decode(),
            stderr.decode(),
            self.before,
            self.scene.contents(),
        )


def attempt(scene: Scene, *arguments: str | Path, **options: Any) -> Outcome:
    return Run(scene, *arguments, **options).end()


def require_one_line(outcome: Outcome, status: int, words: str) -> None:
    """The exit status and one error, and nothing on stderr but what people are meant to read."""
    lines = outcome.stderr.splitlines()
    assert outcome.status == status, outcome.stderr
    assert all(line.startswith(_SAID) for line in lines), outcome.stderr
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert words in error
    assert outcome.stdout == ""


def require_refused(outcome: Outcome, status: int, words: str) -> None:
    require_one_line(outcome, status, words)
    assert outcome.after == outcome.before


def require_all_gone(scene: Scene) -> None:
    deadline = time.monotonic() + 10
    while running := scene.processes():
        assert time.monotonic() < deadline, f"{running} survived"
        time.sleep(0.02)


# Models that take seconds to quantize

_WIDTH, _LAYERS = 1024, 4
_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output")
_PATTERN = bytes(range(56)) * (_WIDTH * 2048 * 2 // 56 + 1)  # finite F16 values of many sizes


@pytest.fixture(scope="module")
def slow_gguf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """17 M weights: quantizing them on one thread takes seconds. Whatever happens, they stay the same."""
    path = tmp_path_factory.mktemp("slow") / "slow-F16.gguf"
    matrix = RawTensor(TENSOR_TYPES_BY_NAME["F16"], (_WIDTH, _WIDTH), _PATTERN[: _WIDTH * _WIDTH * 2])
    metadata = {
        Key.ARCHITECTURE: string("llama"),
        "llama.block_count": uint32(_LAYERS),
        "llama.context_length": uint32(64),
        "llama.embedding_length": uint32(_WIDTH),
        "llama.feed_forward_length": uint32(_WIDTH),
        "llama.attention.head_count": uint32(8),
        "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
    }
    names = [f"blk.{layer}.{name}.weight" for layer in range(_LAYERS) for name in _MATRICES]
    write_gguf(path, metadata, dict.fromkeys(names, matrix))
    before = checksum(path)
    yield path
    assert checksum(path) == before


@pytest.fixture(scope="module")
def slow_checkpoint(demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo's tokenizer with as many weights."""
    directory = tmp_path_factory.mktemp("slow") / "slow"
    directory.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(demo_checkpoint / name, directory)
    config = json.loads((demo_checkpoint / "config.json").read_text())
    config |= {"hidden_size": _WIDTH, "intermediate_size": 64, "num_hidden_layers": _LAYERS}
    config |= {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": _WIDTH // 8}
    (directory / "config.json").write_text(json.dumps(config))
    save_file(_slow_weights(config["vocab_size"]), directory / "model.safetensors")
    before = {path: checksum(path) for path in directory.iterdir()}
    yield directory
    assert {path: checksum(path) for path in directory.iterdir()} == before


def _slow_weights(vocabulary: int) -> dict[str, np.ndarray[Any, Any]]:
    def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
        return np.frombuffer(_PATTERN, "<f2", rows * columns).reshape(rows, columns)

    ones = np.ones(_WIDTH, "<f2")
    found = {"model.embed_tokens.weight": matrix(vocabulary, _WIDTH), "model.norm.weight": ones}
    for layer in range(_LAYERS):
        prefix = f"model.layers.{layer}."
        found |= {prefix + f"self_attn.{name}_proj.weight": matrix(_WIDTH, _WIDTH) for name in "qkvo"}
        found |= {prefix + f"mlp.{name}_proj.weight": matrix(64, _WIDTH) for name in ("gate", "up")}
        found |= {prefix + "mlp.down_proj.weight": matrix(_WIDTH, 64)}
        found |= {prefix + f"{name}_layernorm.weight": ones for name in ("input", "post_attention")}
    return found


@pytest.fixture(params=["GGUF", "checkpoint"])
def slow_source(request: pytest.FixtureRequest) -> Path:
    name = "slow_gguf" if request.param == "GGUF" else "slow_checkpoint"
    found = request.getfixturevalue(name)
    assert isinstance(found, Path)
    return found


# Moments of a run


def is_planning(run: Run) -> object:
    """llama.cpp is asked in a child, about headers in a temporary directory."""
    return list(run.scene.temporary.glob("localllm-*")) and run.child()


def has_begun(run: Run) -> object:
    """The part file is there; the child that will write it is just starting."""
    return run.scene.parts()


def is_writing(run: Run) -> object:
    """A good deal of the weights is written; where space is reserved, the size of the part does not tell."""
    with suppress(psutil.Error, OSError):
        parts = run.scene.parts()
        if sys.platform != "linux":
            return parts and parts[0].stat().st_size > 4_000_000
        children = psutil.Process(run.process.pid).children() if parts else []
        return any(child.io_counters().write_chars > 4_000_000 for child in children)
    return None


def is_collecting(run: Run) -> object:
    """An importance matrix is being made."""
    return list(run.scene.place.glob("new/.*-imatrix.gguf.part-*")) and run.child()


MOMENTS = {"planning": is_planning, "just started": has_begun, "writing": is_writing}


# Ctrl-C


Record = Callable[[str, object], None]


def interrupt(
    run: Run, record: Record, number: signal.Signals = signal.SIGINT, *, held: bool = False
) -> None:
    """Send the signal, over and over when `held`; everything must be over soon and as it was."""
    begin = time.monotonic()
    run.send(number)
    while held and run.process.poll() is None:
        run.send(number)
    outcome = run.end(seconds=60)
    seconds = time.monotonic() - begin
    record("seconds", seconds)
    print(f"{number.name}: {seconds:.3f} s")
    assert outcome.status == 130
    assert all(line.startswith("note: ") for line in outcome.stderr.splitlines()), outcome.stderr
    assert outcome.stdout == ""
    assert outcome.after == outcome.before
    require_all_gone(run.scene)
    assert seconds < LONGEST_SECONDS


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c(moment: str, slow_source: Path, scene: Scene, record_property: Record) -> None:
    run = Run(scene, slow_source, "-q", "Q4_K_M", "-o", "new/directory/out.gguf", "--threads", "1")
    run.wait_until(MOMENTS[moment])
    interrupt(run, record_property)


def test_ctrl_c_with_several_levels(slow_gguf: Path, scene: Scene, record_property: Record) -> None:
    run = Run(scene, slow_gguf, "-q", "Q4_K_M,Q2_K,Q8_0", "-o", "new")
    run.wait_until(is_writing)
    interrupt(run, record_property)


def test_ctrl_c_while_a_matrix_is_collected(
    slow_checkpoint: Path, scene: Scene, record_property: Record
) -> None:
    """From a checkpoint there is a converted file by then, which goes as well."""
    run = Run(scene, slow_checkpoint, "-q", "Q2_K", "-o", "new/", "--imatrix", "auto", "--threads", "1")
    run.wait_until(is_collecting)
    assert list(scene.place.glob(".convert-*/*.gguf"))
    interrupt(run, record_property)


def test_sigterm_is_the_same(slow_gguf: Path, scene: Scene, record_property: Record) -> None:
    run = Run(scene, slow_gguf, "-q", "Q4_K_M", "-o", "out.gguf", "--threads", "1")
    run.wait_until(is_writing)
    interrupt(run, record_property, signal.SIGTERM)


def test_ctrl_c_held_down_leaves_nothing_either(
    slow_gguf: Path, scene: Scene, record_property: Record
) -> None:
    run = Run(scene, slow_gguf, "-q", "Q4_K_M,Q2_K", "-o", "new", "--threads", "1")
    run.wait_until(has_begun)
    interrupt(run, record_property, held=True)


def test_ctrl_c_gives_the_terminal_its_cursor_back(slow_gguf: Path, scene: Scene) -> None:
    pexpect = pytest.importorskip("pexpect", reason="needs a pseudo terminal")
    child = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "quantize", str(slow_gguf), "-q", "Q4_K_M", "-o", "out.gguf", "--threads", "1"],
        cwd=str(scene.place),
        env={**scene.environment, "TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
    )
    child.expect_exact("\x1b[?25l")  # the bar hides it
    child.expect(r" [1-9]\d?%")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "\x1b[?25h" in child.before


# kill -9, and a child that dies

_SMALL = raw_tensor(np.ones((4, 64), np.float32))


@pytest.mark.usefixtures("outcomes")  # from here on the tables run beside the other tests
def test_killed_runs_leave_no_final_file_and_the_next_cleans_up(slow_gguf: Path, scene: Scene) -> None:
    """Parent and child are gone, whenever it was; what they left is removed by the same command."""
    command = (slow_gguf, "-q", "Q4_K_M,Q8_0", "-o", "out")
    moments = random.Random(7)
    for _ in range(2):
        run = Run(scene, *command, "--threads", "1")
        time.sleep(moments.uniform(0.1, 1.5))
        run.process.kill()
        run.process.communicate(timeout=20)
        require_all_gone(scene)
        assert not list(scene.place.rglob("*.gguf"))
    run = Run(scene, *command, "--threads", "1")
    run.wait_until(is_writing)
    run.process.kill()
    run.process.communicate(timeout=20)
    require_all_gone(scene)
    assert scene.parts()
    outcome = attempt(scene, *command)
    assert outcome.status == 0, outcome.stderr
    names = {path.name for path in scene.place.rglob("*")}
    assert names == {"out", "slow-Q4_K_M.gguf", "slow-Q8_0.gguf"}


def test_temporary_files_of_a_killed_plan_are_cleaned_up_too(narrow_gguf: Path, scene: Scene) -> None:
    run = Run(scene, narrow_gguf, "-q", "Q8_0", "-o", "out.gguf")
    run.wait_until(is_planning)
    run.process.kill()
    run.process.communicate(timeout=20)
    require_all_gone(scene)
    assert attempt(scene, narrow_gguf, "-q", "Q8_0", "-o", "out.gguf").status == 0
    assert list(scene.temporary.iterdir()) == []


def kill_child(run: Run, number: signal.Signals, *, after: float = 0) -> None:
    run.wait_until(Run.child)
    time.sleep(after)
    child = run.child()
    assert child is not None
    child.send_signal(number)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_dying_child_is_an_error_with_a_reason(
    number: signal.Signals, slow_gguf: Path, scene: Scene
) -> None:
    run = Run(scene, slow_gguf, "-q", "Q4_K_M,Q2_K", "-o", "new", "--threads", "1")
    run.wait_until(is_writing)
    kill_child(run, number, after=0.05)
    require_refused(run.end(), 1, f"was killed by {number.name}")
    require_all_gone(scene)


def test_a_child_that_dies_while_it_plans(scene: Scene) -> None:
    """It was started before there was anything to plan, and then has thousands of tensors to look at."""
    tensors = {f"blk.0.{'x' * 40}.{number}.weight": _SMALL for number in range(1000)}
    narrow(scene.place / "model.gguf", tensors=tensors)
    run = Run(scene, "model.gguf", "-q", "all,Q4_1,Q5_1,IQ4_NL,TQ1_0,TQ2_0,F16,BF16", "-o", "new")
    run.wait_until(is_planning)
    kill_child(run, signal.SIGABRT)
    require_refused(run.end(), 1, "was killed by SIGABRT")
    require_all_gone(scene)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_child_killed_at_a_random_moment(seed: int, slow_gguf: Path, scene: Scene) -> None:
    run = Run(scene, slow_gguf, "-q", "Q4_K_M", "-o", "out.gguf", "--threads", "1")
    run.wait_until(has_begun)
    kill_child(run, signal.SIGKILL, after=random.Random(seed).uniform(0.05, 1.2))
    require_refused(run.end(), 1, "was killed by SIGKILL")


@pytest.mark.parametrize(
    ("moment", "extra"),
    [("planning", ("--tensor-type", "x" * 100_000 + "=Q4_0")), ("just started", ())],
    ids=["planning", "just started"],
)
def test_a_child_killed_before_it_knows_its_work(moment: str, extra: Sequence[str], scene: Scene) -> None:
    """What it is to do is more than a pipe holds: a long pattern to plan, many tensors to write."""
    tensors = {f"blk.0.{'x' * 40}.{number}.weight": _SMALL for number in range(1000)}
    narrow(scene.place / "model.gguf", tensors=tensors)
    run = Run(scene, *one_level("-o", "out.gguf", *extra))
    run.wait_until(MOMENTS[moment])
    kill_child(run, signal.SIGKILL)
    require_refused(run.end(), 1, "was killed by SIGKILL")


# Two at once


def test_two_runs_for_one_target(slow_gguf: Path, scene: Scene) -> None:
    """The second says who is first and touches nothing, also when only one of its levels is the same."""
    first = Run(scene, slow_gguf, "-q", "Q4_K_M,Q8_0", "-o", "out")
    first.wait_until(has_begun)
    second = attempt(scene, slow_gguf, "-q", "Q2_K,Q8_0", "-o", "out")
    require_one_line(second, 1, "out/slow-Q8_0.gguf is being written by another localllm")
    assert f"process {first.process.pid}" in second.stderr
    outcome = first.end()
    assert outcome.status == 0, outcome.stderr
    assert {path.name for path in (scene.place / "out").iterdir()} == {"slow-Q4_K_M.gguf", "slow-Q8_0.gguf"}


# Disks

Mount = Callable[[int], Path]


@pytest.fixture
def mount(scene: Scene) -> Iterator[Mount]:
    """Return how to make a real disk of so many bytes; it is taken away again afterwards."""
    point = scene.place / "disk"

    def mounted(size_bytes: int) -> Path:
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root may mount a disk, and on Linux it is known how")
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
        return point

    yield mounted
    if os.path.ismount(point):
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space there is left; return the file that has it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1_000_000))
    return filler


def test_a_disk_too_small_is_refused_in_advance(
    demo_files: dict[str, Path], scene: Scene, mount: Mount
) -> None:
    mount(1024 * 1024)
    outcome = attempt(scene, demo_files["BF16"], "-q", "Q8_0", "-o", "disk/new/out.gguf")
    require_refused(outcome, 1, "disk/new/out.gguf needs 3.79 MiB, but only 1.00 MiB are free there")


def test_levels_that_fit_one_by_one_but_not_together(
    demo_files: dict[str, Path], scene: Scene, mount: Mount
) -> None:
    disk = mount(5_000_000)
    command = (demo_files["BF16"], "-q", "Q8_0,Q2_K", "-o", "disk")
    planned = json.loads(attempt(scene, *command, "--plan", "--json").stdout)["data"]
    assert all(level["fits_disk"] for level in planned["levels"])
    assert planned["total_bytes"] > planned["disk_free_bytes"]
    outcome = attempt(scene, *command)
    require_refused(outcome, 1, "disk/demo-Q8_0.gguf and 1 more need 5.37 MiB, but only")
    assert list(disk.iterdir()) == []


def test_space_that_disappears_while_writing(slow_gguf: Path, scene: Scene, mount: Mount) -> None:
    """The space is taken after the plan has seen it, before the child reserves it."""
    disk = mount(64_000_000)
    run = Run(scene, slow_gguf, "-q", "Q8_0,Q6_K", "-o", "disk/new", "--threads", "1")
    run.wait_until(has_begun)
    filler = fill(disk)
    outcome = run.end()
    require_one_line(outcome, 1, "no space left to write disk/new/slow-Q")
    assert list(disk.iterdir()) == [filler]
    assert list(scene.temporary.iterdir()) == []


def test_space_that_disappears_under_small_files(
    demo_files: dict[str, Path], scene: Scene, mount: Mount
) -> None:
    """They are not reserved but written at the end: the write itself fails."""
    disk = mount(16_000_000)
    run = Run(scene, demo_files["BF16"], "-q", "Q4_K_M,Q2_K", "-o", "disk/", "--threads", "1")
    run.wait_until(has_begun)
    filler = fill(disk)
    require_one_line(run.end(), 1, "no space left to write disk/demo-Q")
    assert list(disk.iterdir()) == [filler]


def test_a_limit_on_file_sizes(demo_files: dict[str, Path], scene: Scene) -> None:
    """As a quota, without a disk of its own: the source fits into the limit, F32 does not."""
    outcome = attempt(scene, demo_files["BF16"], "-q", "F32", "-o", "out.gguf", preexec_fn=limit_file_size)
    require_refused(outcome, 1, "no space left to write out.gguf")


def limit_file_size() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))


@pytest.mark.parametrize("extra", [(), ("--imatrix", "auto")], ids=["plain", "with a matrix"])
def test_a_read_only_place(extra: Sequence[str], demo_checkpoint: Path, scene: Scene, mount: Mount) -> None:
    disk = mount(16_000_000)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outcome = attempt(scene, demo_checkpoint, "-q", "Q8_0,Q2_K", "-o", "disk/new", *extra)
    require_refused(outcome, 1, "Read-only file system")
    assert "error: cannot write disk/" in outcome.stderr


# Bad files, places and names: tables, run side by side, because starting Python takes the time

Arguments = Sequence[str | Path]
Make = Callable[[Path], Arguments]


@dataclass(frozen=True)
class Case:
    """`make` prepares the working directory and returns what comes behind `quantize`."""

    make: Make
    status: int
    words: str
    hint: str | None = None


def narrow(path: Path, **changes: Any) -> Path:
    return build_tiny_gguf(path, width=64, layers=1, **changes)


def demo_copy(place: Path, name: str = "model") -> Path:
    source = shipped_checkpoint("demo")
    assert source is not None
    return Path(shutil.copytree(source, place / name))


def one_level(*arguments: str) -> Arguments:
    return ("model.gguf", "-q", "Q8_0", *(arguments or ("-o", "new/out.gguf")))


# What is no model


def content(data: bytes) -> Make:
    """The source has these bytes."""

    def make(place: Path) -> Arguments:
        (place / "model.gguf").write_bytes(data)
        return one_level()

    return make


def changed(**changes: Any) -> Make:
    """The source is a model with other metadata or tensors."""

    def make(place: Path) -> Arguments:
        narrow(place / "model.gguf", **changes)
        return one_level()

    return make


def cut(where: Callable[[int], int]) -> Make:
    """The source ends early; `where` tells from its size."""

    def make(place: Path) -> Arguments:
        path = narrow(place / "model.gguf")
        os.truncate(path, where(path.stat().st_size))
        return one_level()

    return make


def only_a_vocabulary(place: Path) -> Arguments:
    names = [tensor.name for tensor in read_header(narrow(place / "other.gguf")).tensors]
    narrow(place / "model.gguf", tensors=dict.fromkeys(names))
    return one_level()


def a_matrix_as_model(place: Path) -> Arguments:
    shutil.copy(_gguf_matrix(place, narrow(place / "other.gguf")), place / "model.gguf")
    return one_level()


def _gguf_matrix(place: Path, source: Path) -> Path:
    """Write a matrix for `source` as `localllm imatrix` does."""
    tensors: dict[str, RawTensor] = {}
    for name, values in some_matrix(source).items():
        tensors[name + SUMS] = raw_tensor(values[0])
        tensors[name + COUNTS] = raw_tensor(np.ones(1, np.float32))
    metadata = {
        Key.TYPE: string(TYPE),
        DATASETS: array(ValueType.STRING, ["text"]),
        CHUNK_COUNT: uint32(2),
        CHUNK_SIZE: uint32(512),
    }
    path = place / "matrix.gguf"
    write_gguf(path, metadata, tensors)
    return path


NO_MODELS: dict[str, Case] = {
    "a text": Case(content(b"this is only a text, but a long enough one\n"), 1, "not a GGUF file"),
    "endless tensors": Case(content(gguf_bytes(tensor_count=HUGE)), 1, "claims to hold"),
    "an endless array": Case(
        content(gguf_bytes([array_pair(b"k", ValueType.UINT8, HUGE, b"")])), 1, "truncated inside the array"
    ),
    "ends in the vocabulary": Case(cut(lambda _: 2000), 1, "truncated"),
    "ends one byte early": Case(cut(lambda size: size - 1), 1, "truncated"),
    "no layers": Case(changed(overrides={"llama.block_count": uint32(0)}), 1, "claims to have 0 layers"),
    "unknown architecture": Case(
        changed(overrides={Key.ARCHITECTURE: string("alien")}),
        1,
        "unknown model architecture: 'alien'",
        "pip install --upgrade llama-cpp-python",
    ),
    "unknown architecture that says all a model has to": Case(
        changed(
            overrides={
                Key.ARCHITECTURE: string("alien"),
                **{f"alien.{name}": uint32(1) for name in ("block_count", "context_length")},
                **{f"alien.{name}": uint32(64) for name in ("embedding_length", "feed_forward_length")},
                "alien.attention.head_count": uint32(4),
                "alien.attention.layer_norm_rms_epsilon": float32(1e-5),
            }
        ),
        1,
        "unknown model architecture: 'alien'",
        "pip install --upgrade llama-cpp-python",
    ),
    "only a vocabulary": Case(
        only_a_vocabulary, 1, "model.gguf holds no tensors, only a vocabulary", "localllm convert"
    ),
    "an adapter": Case(
        changed(overrides={Key.TYPE: string("adapter")}),
        1,
        "model.gguf is a LoRA adapter, not a model",
        "localllm quantize BASE --adapter DIRECTORY",
    ),
    "an importance matrix": Case(
        a_matrix_as_model, 1, "model.gguf is an importance matrix, not a model", "--imatrix FILE"
    ),
    "of another type": Case(
        changed(overrides={Key.TYPE: string("vocoder")}),
        1,
        "model.gguf is of type 'vocoder', not a model",
        "models",
    ),
}

# Weights that are no numbers


def poisoned(kind: str, value: float, name: str = "blk.0.attn_q.weight") -> Make:
    """One weight of a GGUF file is `value`."""

    def make(place: Path) -> Arguments:
        shape = (64,) if name.endswith("norm.weight") else (64, 64)
        numbers = np.full(shape, 0.1, np.float32)
        numbers[..., 7] = value
        narrow(place / "model.gguf", tensors={name: stored(numbers, kind)})
        return ("model.gguf", "-q", "Q4_0,F16", "-o", "new/directory")

    return make


def stored(numbers: np.ndarray[Any, Any], kind: str) -> RawTensor:
    if kind != "BF16":
        return raw_tensor(numbers, kind)
    upper_halves = (numbers.view(np.uint32) >> 16).astype("<u2")
    return RawTensor(TENSOR_TYPES_BY_NAME["BF16"], tuple(reversed(numbers.shape)), upper_halves.tobytes())


def poisoned_checkpoint(name: str, bits: int) -> Make:
    """One BF16 weight of a checkpoint has these bits."""

    def make(place: Path) -> Arguments:
        path = demo_copy(place) / "model.safetensors"
        with path.open("r+b") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            begin = json.loads(file.read(size))[name]["data_offsets"][0]
            file.seek(8 + size + begin + 2 * 7)
            file.write(struct.pack("<H", bits))
        return ("model", "-q", "Q4_0,Q8_0", "-o", "new/directory")

    return make


def a_damaged_block(place: Path) -> Arguments:
    """The scale of a Q8_0 block is NaN."""
    block = b"\xff\x7f" + bytes(32)
    damaged = RawTensor(TENSOR_TYPES_BY_NAME["Q8_0"], (64, 64), block * 128)
    narrow(place / "model.gguf", tensors={"blk.0.attn_q.weight": damaged})
    return ("model.gguf", "-q", "Q4_0", "-o", "new/out.gguf", "--allow-requantize")


def a_truncated_checkpoint(place: Path) -> Arguments:
    path = demo_copy(place) / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    return ("model", "-q", "Q8_0", "-o", "new/out.gguf")


_NOT_FINITE = "tensor `blk.0.attn_q.weight` contains NaN, infinity or damaged blocks"
_Q_PROJ = "model.layers.1.self_attn.q_proj.weight"

NO_NUMBERS: dict[str, Case] = {
    "nan in F32": Case(poisoned("F32", math.nan), 1, _NOT_FINITE),
    "inf in F16": Case(poisoned("F16", math.inf), 1, _NOT_FINITE),
    "-inf in BF16": Case(poisoned("BF16", -math.inf), 1, _NOT_FINITE),
    "nan in a norm that is copied": Case(
        poisoned("F32", math.nan, "blk.0.attn_norm.weight"), 1, "tensor `blk.0.attn_norm.weight` contains NaN"
    ),
    "nan in a checkpoint": Case(poisoned_checkpoint(_Q_PROJ, 0x7FC0), 1, f"{_Q_PROJ}` contains NaN"),
    "inf in a checkpoint": Case(poisoned_checkpoint(_Q_PROJ, 0xFF80), 1, f"{_Q_PROJ}` contains NaN"),
    "a number too large": Case(poisoned_checkpoint(_Q_PROJ, 0x7F00), 1, "too large for Q4_0"),
    "a damaged block": Case(a_damaged_block, 1, _NOT_FINITE),
    "a truncated checkpoint": Case(a_truncated_checkpoint, 1, "model.safetensors"),
}

# Output = input; the source itself and a link to it are in test_bad_input


def onto(target: str, *extra: str, prepare: Callable[[Path], object] = lambda place: None) -> Make:
    """Quantize model.gguf to `target`."""

    def make(place: Path) -> Arguments:
        narrow(place / "model.gguf")
        prepare(place)
        return one_level("-o", target, *extra)

    return make


def onto_checkpoint(target: str, *extra: str, model: str = "model") -> Make:
    """Quantize a copy of the demo to `target`; the persona adapter lies beside it."""

    def make(place: Path) -> Arguments:
        demo_copy(place)
        persona = shipped_checkpoint(DEMO_PERSONA)
        assert persona is not None
        shutil.copytree(persona, place / "persona")
        (place / "link").symlink_to("model")
        return (model, "-q", "Q8_0", "-o", target, *extra)

    return make


def onto_a_shard(place: Path) -> Arguments:
    demo = shipped_checkpoint("demo")
    assert demo is not None
    convert(demo, output=place / "demo.gguf", split_max_bytes=4_000_000)
    first, second = sorted(place.glob("demo-*.gguf"))
    return (first, "-q", "Q8_0", "-o", second.name)


def onto_its_base(place: Path) -> Arguments:
    """The tokenizer is taken from another directory, and would be overwritten there."""
    base, model = demo_copy(place, "base"), demo_copy(place)
    for path in model.glob("tokenizer*"):
        path.unlink()
    return (model.name, "-q", "Q8_0", "-o", "base/tokenizer.json", "--base", base.name)


def by_its_level(place: Path) -> Arguments:
    """A name that lies: among the outputs of several levels is the source itself."""
    narrow(place / "model-Q8_0.gguf")
    return ("model-Q8_0.gguf", "-q", "Q4_0,Q8_0", "-o", ".")


_SAME = "is the file it would be made from"

SAME_FILE: dict[str, Case] = {
    "a hard link to the source": Case(
        onto("link.gguf", prepare=lambda place: (place / "link.gguf").hardlink_to(place / "model.gguf")),
        2,
        _SAME,
    ),
    "one of several levels": Case(by_its_level, 2, f"model-Q8_0.gguf {_SAME}"),
    "a shard": Case(onto_a_shard, 2, f"demo-00002-of-00002.gguf {_SAME}"),
    "the checkpoint's weights through a link": Case(onto_checkpoint("link/model.safetensors"), 2, _SAME),
    "the adapter's weights": Case(
        onto_checkpoint("persona/adapter_model.safetensors", "--adapter", "persona"), 2, _SAME
    ),
    "the model card": Case(onto_checkpoint("model/README.md"), 2, _SAME),
    "the base's tokenizer": Case(onto_its_base, 2, _SAME),
    "the importance matrix": Case(
        onto(
            "matrix.gguf",
            "--imatrix",
            "matrix.gguf",
            prepare=lambda place: _gguf_matrix(place, place / "model.gguf"),
        ),
        2,
        _SAME,
    ),
    "the calibration text": Case(
        onto(
            "text.txt",
            "--imatrix",
            "auto",
            "--calibration",
            "text.txt",
            prepare=lambda place: (place / "text.txt").write_text("abc defg hij " * 400),
        ),
        2,
        _SAME,
    ),
}

# Places that cannot be written to


def a_file_called(name: str, *extra: str) -> Make:
    def make(place: Path) -> Arguments:
        (place / name).write_text("mine")
        narrow(place / "model.gguf")
        return one_level(*extra)

    return make


def a_directory_called(name: str, *extra: str) -> Make:
    def make(place: Path) -> Arguments:
        (place / name).mkdir(parents=True)
        narrow(place / "model.gguf")
        return one_level(*extra)

    return make


PLACES: dict[str, Case] = {
    "below a file": Case(a_file_called("file", "-o", "file/out.gguf"), 1, "cannot write file/out.gguf"),
    "several levels in a file": Case(
        a_file_called("file", "-q", "Q4_0", "-o", "file"),
        2,
        "file is a file, but several levels need a directory",
    ),
    "onto a directory": Case(
        a_directory_called("out/model-Q8_0.gguf", "-o", "out"), 2, "out/model-Q8_0.gguf is a directory"
    ),
    "onto a pipe": Case(onto("pipe", prepare=lambda place: os.mkfifo(place / "pipe")), 2, "pipe is"),
}

# Importance matrices


def with_matrix(prepare: Callable[[Path], object], *extra: str, level: str = "Q4_K_M") -> Make:
    """Quantize a model 256 wide; `prepare` makes matrix.gguf."""

    def make(place: Path) -> Arguments:
        build_tiny_gguf(place / "model.gguf", layers=1)
        prepare(place)
        return ("model.gguf", "-q", level, "-o", "new/out.gguf", *(extra or ("--imatrix", "matrix.gguf")))

    return make


def truncated_matrix(place: Path) -> None:
    path = _gguf_matrix(place, place / "model.gguf")
    os.truncate(path, path.stat().st_size // 2)


def matrix_of_another_model(place: Path) -> None:
    _gguf_matrix(place, narrow(place / "other.gguf"))


MATRICES: dict[str, Case] = {
    "no such matrix": Case(
        with_matrix(lambda _: None), 1, "no such importance matrix: matrix.gguf", "localllm imatrix MODEL"
    ),
    "a truncated matrix": Case(with_matrix(truncated_matrix), 1, "matrix.gguf: the file is truncated"),
    "a text as matrix": Case(
        with_matrix(lambda place: (place / "matrix.gguf").write_text("no matrix at all, " * 20)),
        1,
        "it is no importance matrix",
    ),
    "a model as matrix": Case(
        with_matrix(lambda place: narrow(place / "matrix.gguf")), 1, "it is a model, not an importance matrix"
    ),
    "another model's matrix": Case(with_matrix(matrix_of_another_model), 1, "which has 256 columns"),
    "a level that needs one": Case(
        with_matrix(lambda _: None, "-q", "Q8_0", level="IQ2_XXS"), 2, "IQ2_XXS needs an importance matrix"
    ),
    "an empty calibration text": Case(
        with_matrix(
            lambda place: (place / "text.txt").touch(), "--imatrix", "auto", "--calibration", "text.txt"
        ),
        2,
        "at least 2 chunks of 512 are needed",
    ),
    "a missing calibration text": Case(
        with_matrix(lambda _: None, "--imatrix", "auto", "--calibration", "text.txt"),
        1,
        "no such file: text.txt",
    ),
}

# Names

_TOO_LONG = "n" * 300
_NOT_UTF8 = "name-\udcff"

LONG_NAMES: dict[str, Case] = {
    "an output's name too long with that of its part": Case(
        onto("n" * 245 + ".gguf"), 1, "File name too long"
    ),
    "an output's name too long": Case(onto(f"{_TOO_LONG}.gguf"), 1, "File name too long"),
    "a source's name too long": Case(lambda _: (f"{_TOO_LONG}.gguf", "-q", "Q8_0"), 1, "File name too long"),
}


NOT_UTF8: dict[str, Case] = {
    "a key": Case(
        with_matrix(lambda _: None, "--override-kv", f"{_NOT_UTF8}=int:1"), 2, "=int:1` is not KEY=TYPE:VALUE"
    ),
    "a value": Case(
        with_matrix(lambda _: None, "--override-kv", f"general.name=str:{_NOT_UTF8}"), 2, "is not a text"
    ),
    "a pattern": Case(
        with_matrix(lambda _: None, "--tensor-type", f"{_NOT_UTF8}=Q4_0"), 2, "is not a regular expression"
    ),
}


def called(source: str, output: str) -> Make:
    """Quantize a file with a strange name to another."""

    def make(place: Path) -> Arguments:
        narrow(place / f"{source}.gguf")
        return (f"{source}.gguf", "-q", "Q8_0", "-o", f"{output}.gguf")

    return make


def matrix_called(name: str) -> Make:
    return with_matrix(
        lambda place: _gguf_matrix(place, place / "model.gguf").rename(place / name), "--imatrix", name
    )


def calibration_called(name: str) -> Make:
    return with_matrix(
        lambda place: (place / name).write_text("abc defg hij " * 400),
        "--imatrix",
        "auto",
        "--calibration",
        name,
    )


STRANGE_NAMES: dict[str, Make] = {
    "spaces and umlauts": called("my größtes model", "new place/日本 größe"),
    "long": called("n" * 200, "m" * 200 + "/" + "k" * 200),
    "not UTF-8": called(_NOT_UTF8, f"{_NOT_UTF8}/{_NOT_UTF8}"),
    "a matrix's not UTF-8": matrix_called(_NOT_UTF8),
    "a calibration text's not UTF-8": calibration_called(f"{_NOT_UTF8}.txt"),
}

# Options that make something llama.cpp does not load


def overriding(*overrides: str, extra: Sequence[str] = ()) -> Make:
    def make(place: Path) -> Arguments:
        narrow(place / "model.gguf")
        options = [word for override in overrides for word in ("--override-kv", override)]
        return one_level("-o", "new/out.gguf", *options, *extra)

    return make


_UNLOADABLE = "llama.cpp would not load the result: "

UNLOADABLE: dict[str, Case] = {
    "more layers than there are": Case(
        overriding("llama.block_count=int:7", "general.name=str:new"),
        1,
        f"{_UNLOADABLE}error loading model: check_tensor_dims: tensor 'blk.1.attn_norm.weight' not found",
        "it is because of `--override-kv llama.block_count=…` or `--override-kv general.name=…`",
    ),
    "no layers at all": Case(
        overriding("llama.block_count=int:0"),
        1,
        f"{_UNLOADABLE}it claims to have 0 layers",
        "look at `--override-kv llama.block_count=…`",
    ),
    "no tokens": Case(
        overriding("tokenizer.ggml.tokens=str:x"), 1, _UNLOADABLE, "--override-kv tokenizer.ggml.tokens=…"
    ),
    "another kind of tokenizer, in a plan": Case(
        overriding("tokenizer.ggml.model=str:gpt2", extra=["--plan"]),
        1,
        _UNLOADABLE,
        "--override-kv tokenizer.ggml.model=…",
    ),
    "another architecture": Case(
        overriding("general.architecture=str:alien"),
        1,
        "llama.cpp",
        "look at `--override-kv general.architecture=…`",
    ),
    "heads that do not divide": Case(
        overriding("llama.attention.head_count=int:3"), 1, "", "--override-kv llama.attention.head_count=…"
    ),
}

REFUSED = {
    **NO_MODELS,
    **NO_NUMBERS,
    **SAME_FILE,
    **PLACES,
    **MATRICES,
    **LONG_NAMES,
    **NOT_UTF8,
    **UNLOADABLE,
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
    """Every case of the tables, each in a directory of its own; they run while other tests do."""
    root = tmp_path_factory.mktemp("cases")

    def outcome(number: int, make: Make) -> Outcome:
        scene = Scene.below(root / str(number))
        return attempt(scene, *make(scene.place))

    makers = {**{name: case.make for name, case in REFUSED.items()}, **STRANGE_NAMES}
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(outcome, number, make) for number, (name, make) in enumerate(makers.items())}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    case, outcome = REFUSED[name], outcomes[name].result()
    require_refused(outcome, case.status, case.words)
    if case.hint is not None:
        (hint,) = [line for line in outcome.stderr.splitlines() if line.startswith("hint: ")]
        assert case.hint in hint


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_strange_names_are_no_problem(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    if "UTF-8" in name and sys.platform != "linux":
        pytest.skip("this file system refuses such names")
    outcome = outcomes[name].result()
    assert outcome.status == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.before.items() <= outcome.after.items()
    new = [path for path in outcome.after.keys() - outcome.before.keys() if outcome.after[path]]
    assert new
    assert all(path.endswith(".gguf") and "part-" not in path for path in new)
