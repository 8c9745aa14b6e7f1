"""`localllm quantize` as users type it: that every option reaches the quantizer, and what is shown.

What the options do to the last byte is tested in tests/quantization.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.cli.app import run
from localllm.cli.output import Output
from localllm.conversion.convert import convert
from localllm.gguf_file import read_header
from localllm.imatrix.reading import read_imatrix
from localllm.store import DEMO_PERSONA, shipped_checkpoint
from tests.cli.process import COMMAND, environment, files_below, localllm
from tests.quantization.making import some_matrix, written
from tests.tiny_gguf import build_tiny_gguf, raw_tensor

pytestmark = pytest.mark.usefixtures("made")  # begins with the first test: one core is free beside it

Arguments = Sequence[str | Path]
Result = subprocess.CompletedProcess[str]


def library() -> Path:
    return Path(os.environ["LOCALLLM_HOME"]) / "models"


def data_of(result: Result) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["data"]


def test_every_option_of_the_help_is_tried_here() -> None:
    options = set(re.findall(r" (--[a-z-]+)", localllm("quantize", "--help").stdout))
    tried = set(re.findall(r'"(--[a-z-]+)"', Path(__file__).read_text()))
    assert options <= tried


# Options and what they do to the file


@dataclass(frozen=True)
class Sources:
    """What is quantized: `tiny` is 256 wide, `split` in two files, a matrix of `again` quantized already."""

    tiny: Path
    split: Path
    again: Path
    demo: Path
    persona: Path


OPTIONS: Mapping[str, Arguments] = {
    "types": (
        *("tiny", "-q", "Q4_K_M", "--tensor-type", "ffn_down=q8_0", "--tensor-type", r"blk\.1\.attn_v=F16"),
        *("--output-type", "Q5_K", "--token-embedding-type", "Q3_K"),
    ),
    "pure": ("tiny", "--level", "Q4_K_M", "--pure", "--leave-output"),
    "metadata": (
        *("tiny", "-q", "Q8_0", "--prune-layers", "0", "--override-kv", "general.name=str:Änother name"),
        *("--override-kv", "tiny.new=int:7", "--override-kv", "tokenizer.ggml.add_bos_token=bool:false"),
    ),
    "requantized": ("again", "-q", "Q4_0", "--allow-requantize"),
    "split": ("split", "-q", "Q8_0", "--keep-split"),
    "engine": ("tiny", "-q", "Q4_K_M", "--pure", "--leave-output", "--engine", "llama.cpp"),
    "pre": ("demo", "-q", "Q8_0", "--pre", "llama-bpe"),
    "base": ("persona", "-q", "Q8_0", "--base", "demo"),
    "adapter": ("demo", "-q", "Q8_0", "--adapter", "persona"),
    "scale": ("demo", "-q", "Q8_0", "--adapter", "persona", "--scale", "0.5"),
    "merge-into": ("demo", "-q", "Q8_0", "--adapter", "persona", "--merge-into", "dequantized"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    directory = tmp_path_factory.mktemp("sources")
    demo, persona = shipped_checkpoint("demo"), shipped_checkpoint(DEMO_PERSONA)
    assert demo is not None
    assert persona is not None
    quantized = raw_tensor(np.ones((256, 256), np.float32), "Q8_0")
    return Sources(
        tiny=build_tiny_gguf(directory / "tiny-F32.gguf", layers=2),
        split=convert(demo, output=directory / "split-BF16.gguf", split_max_bytes=4_000_000).path,
        again=build_tiny_gguf(directory / "again.gguf", tensors={"blk.0.attn_q.weight": quantized}),
        demo=demo,
        persona=persona,
    )


@pytest.fixture(scope="module")
def made(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Result]]]:
    """The run of every case, to a file of its name; they run while other tests do."""
    directory = tmp_path_factory.mktemp("made")
    home = {"LOCALLLM_HOME": str(directory / "home")}

    def run(name: str, arguments: Arguments) -> Result:
        named = [getattr(sources, str(each), each) for each in arguments]
        return localllm("quantize", *named, "--output", directory / f"{name}.gguf", "--json", env=home)

    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, name, arguments) for name, arguments in OPTIONS.items()}
        pool.shutdown(cancel_futures=True)


class Made:
    """What came out of a case: its entry in the JSON, its header."""

    def __init__(self, future: Future[Result]) -> None:
        (self.entry,) = data_of(future.result())
        self.path = Path(self.entry["path"])
        self.header = read_header(self.path)
        self.types = {tensor.name: tensor.type.name for tensor in self.header.tensors}


# Plans


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    """64 wide: no K-quant fits."""
    return build_tiny_gguf(tmp_path / "narrow-F32.gguf", width=64, layers=1)


def test_a_plan_is_exact_and_writes_nothing(demo_checkpoint: Path, tmp_path: Path) -> None:
    levels = ("-q", "Q2_K,Q4_K_M", "-q", "q8_0")
    before = files_below(tmp_path, library())
    plan = data_of(localllm("quantize", demo_checkpoint, *levels, "--plan", "--json", cwd=tmp_path))
    assert files_below(tmp_path, library()) == before
    entries = data_of(localllm("quantize", demo_checkpoint, *levels, "--json", cwd=tmp_path))
    assert [entry["level"] for entry in entries] == ["Q2_K", "Q4_K_M", "Q8_0"]
    for planned, entry in zip(plan["levels"], entries, strict=True):
        assert Path(entry["path"]).stat().st_size == planned["size_bytes"] == entry["size_bytes"]
        for field in ("level", "path", "files", "bits_per_weight", "fallbacks"):
            assert planned[field] == entry[field], field
    assert plan["total_bytes"] == sum(entry["size_bytes"] for entry in entries)


def test_the_fields_of_a_plan(narrow: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    command = ("quantize", narrow, "-q", "Q4_K_M", "-o", target, "--plan", "--context", "1000000", "--json")
    plan = data_of(localllm(*command))
    (level,) = plan["levels"]
    assert level == {
        "level": "Q4_K_M",
        "path": str(target),
        "files": 1,
        "size_bytes": pytest.approx(58_000, rel=0.02),
        "bits_per_weight": pytest.approx(6.77, abs=0.01),
        "nominal_bits_per_weight": 4.5,
        "fallbacks": 8,
        "memory_bytes": level["memory_bytes"],
        "fits_disk": True,
        "fits_memory": True,
        "fits_gpu": None if plan["gpu"] is None else True,
    }
    cache = 1_000_000 * 2 * 2 * 16 * 2  # f16 keys and values of two heads 16 wide, in one layer
    masks = 1_000_000 * 2 * 512
    beside = level["memory_bytes"] - level["size_bytes"]
    assert cache + masks < beside < cache + masks + 10_000_000
    assert plan["total_bytes"] == level["size_bytes"]
    assert plan["context"] == 1_000_000
    assert plan["advised"] == "Q4_K_M"
    assert plan["disk_free_bytes"] > 0
    assert plan["memory_available_bytes"] > 0


def test_a_plan_for_people(narrow: Path, tmp_path: Path) -> None:
    """A level that falls back shows what it comes to beside what its type is; a pipe gets plain columns."""
    result = localllm("quantize", narrow, "-q", "Q4_K_M,Q8_0", "-o", tmp_path, "--plan")
    assert result.returncode == 0, result.stderr
    heading, first, second, nothing, together, memory, advice = result.stdout.splitlines()
    assert heading.startswith("level ")
    assert re.fullmatch(r"Q4_K_M +57\.\d KiB +6\.77 +4\.50 +8 +\d+ KiB +disk, memory(, GPU)?", first)
    assert re.fullmatch(r"Q8_0 +\S+ KiB +8\.\d\d +8\.50 +0 .*", second)
    assert nothing == ""
    assert re.fullmatch(r"together \d+ KiB; free: .+ on the disk, .+ of memory(, .+ on .+)?", together)
    assert memory == "memory is estimated for a context of 64 tokens"
    assert advice == "advised: Q8_0, the largest of these that fits this machine"
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_terminal_without_colour(narrow: Path, tmp_path: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    shown = pexpect.run(
        " ".join([*COMMAND, "quantize", str(narrow), "-q", "Q4_K_M", "-o", str(tmp_path / "out.gguf")]),
        env={**environment(), "TERM": "xterm", "NO_COLOR": "1"},
        encoding="utf-8",
    )
    assert "6.77 bits per weight instead of 4.50" in shown
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9|10)[0-7]m", shown), shown


# Results


def test_results_for_people(narrow: Path, tmp_path: Path) -> None:
    result = localllm("quantize", narrow, "-q", "Q4_K_M,Q8_0", "-o", tmp_path / "new")
    assert result.returncode == 0, result.stderr
    first_note, second_note = result.stderr.splitlines()
    fallback = r"note: Q4_K_M: 57\.\d KiB, 6\.77 bits per weight instead of 4\.50: 8 tensors do not fit .*"
    assert re.fullmatch(fallback, first_note)
    assert re.fullmatch(r"note: Q8_0: \S+ KiB, 8\.\d\d bits per weight", second_note)
    heading, first, second = result.stdout.splitlines()
    assert re.fullmatch(r"level +size +bits per weight +time +fallbacks +file", heading)
    paths = [tmp_path / "new" / f"narrow-{level}.gguf" for level in ("Q4_K_M", "Q8_0")]
    assert re.fullmatch(rf"Q4_K_M +57\.\d KiB +6\.77 +\d+ ms +8 +{re.escape(str(paths[0]))}", first)
    assert re.fullmatch(rf"Q8_0 +\S+ KiB +8\.\d\d +\d+ ms +0 +{re.escape(str(paths[1]))}", second)
    assert sorted((tmp_path / "new").iterdir()) == paths


def test_files_that_are_there_are_kept_unless_forced(narrow: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        return localllm("quantize", narrow, "-o", tmp_path / "out", *arguments)

    assert [entry["kept"] for entry in data_of(run("-q", "Q8_0,Q4_0", "--json"))] == [False, False]
    before = (tmp_path / "out" / "narrow-Q8_0.gguf").stat()
    again = run("-q", "Q8_0,Q5_0").stdout.splitlines()
    assert ["  kept  " in line for line in again[1:]] == [True, False]
    after = (tmp_path / "out" / "narrow-Q8_0.gguf").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    forced = run("-q", "Q5_0", "--force", "--quiet")
    assert "  kept  " not in forced.stdout
    assert forced.stderr == ""


# Importance matrices


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    """Two texts, of two chunks at least for a model that knows only letters."""
    paths = tmp_path / "one.txt", tmp_path / "two.txt"
    paths[0].write_text("abc defg hij " * 200)
    paths[1].write_text("jih gfed cba " * 200)
    return paths


def test_a_matrix_is_made_kept_and_used_again(texts: tuple[Path, Path], tmp_path: Path) -> None:
    """It lies beside the outputs and is no model; another text makes another one."""
    source = build_tiny_gguf(tmp_path / "tiny-F32.gguf", layers=1)
    command = ("quantize", source, "-q", "Q2_K_S", "--imatrix", "auto", "--json", "--calibration")
    place = library() / "tiny"
    planned = data_of(localllm(*command, texts[0], "--plan"))
    assert not place.exists()
    (first,) = data_of(localllm(*command, texts[0]))
    assert first["size_bytes"] == planned["levels"][0]["size_bytes"]
    assert {path.name for path in place.glob("[!.]*")} == {"tiny-Q2_K_S.gguf", "tiny-imatrix.gguf"}
    matrix = place / "tiny-imatrix.gguf"
    metadata = read_header(place / "tiny-Q2_K_S.gguf").metadata
    assert metadata["quantize.imatrix.file"] == matrix.name
    assert metadata["quantize.imatrix.dataset"] == "one.txt"
    listed = json.loads(localllm("list", "--json").stdout)["data"]
    assert [entry["level"] for entry in listed if Path(entry["path"]).parent == place] == ["Q2_K_S"]

    before = matrix.stat().st_mtime_ns
    (second,) = data_of(localllm(*command, texts[0]))
    assert second["kept"]
    assert matrix.stat().st_mtime_ns == before

    (third,) = data_of(localllm(*command, texts[1], "--threads", "1"))
    assert not third["kept"]
    assert read_imatrix(matrix).datasets == ("two.txt",)


def test_a_matrix_of_ones_own(narrow: Path, tmp_path: Path) -> None:
    written(some_matrix(narrow), tmp_path / "mine.dat")
    command = ("quantize", narrow, "-q", "Q4_0", "--imatrix", "mine.dat", "-o", "out.gguf")
    result = localllm(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert read_header(tmp_path / "out.gguf").metadata["quantize.imatrix.file"] == "mine.dat"


# Memory


def test_too_little_memory_says_how_much_is_needed(narrow: Path, tmp_path: Path) -> None:
    """And with that it works, once it is rounded up."""
    target = tmp_path / "out.gguf"
    command = ("quantize", narrow, "-q", "Q8_0", "-o", target, "--threads", "3", "--max-memory")
    refused = localllm(*command, "1M")
    assert refused.returncode == 2
    note, error, hint = refused.stderr.splitlines()
    assert note.startswith("note: Q8_0: ")
    assert error == "error: 977 KiB are too little to quantize in"
    found = re.match(r"hint: 1 level with 3 threads needs? .*?(\d+) MiB", hint)
    assert found, hint
    assert not target.exists()
    enough = localllm(*command, str((int(found[1]) + 1) * 1024**2))
    assert enough.returncode == 0, enough.stderr


# Wrong values, in this process; test_bad_input has some in one of their own


@dataclass(frozen=True)
class Mistake:
    """What comes behind the model, and what is said about it."""

    arguments: Arguments
    words: str
    hint: str = "`localllm quantize --help` explains the options"
    status: int = 2


_LEVEL = ("-q", "Q8_0")
MISTAKES: dict[str, Mistake] = {
    "no level": Mistake((), "--level"),
    "an empty level": Mistake(("-q", ","), "no quantization level given", "`-q Q4_K_M`"),
    "nearly a level": Mistake(("-q", "Q4_K_X"), "`Q4_K_X` is not a quantization level", "Q4_K_M"),
    "nearly a group": Mistake(("-q", "recomended"), "`RECOMENDED` is not a", "did you mean recommended"),
    "no level at all alike": Mistake(
        ("-q", "huge"), "`HUGE` is not a quantization level", "for example Q4_K_M"
    ),
    "a tensor type alone": Mistake(
        (*_LEVEL, "--tensor-type", "Q6_K"), "`Q6_K` is not REGEX=TYPE", "--tensor-type ffn_down=Q6_K"
    ),
    "a type there is not": Mistake(
        (*_LEVEL, "--tensor-type", "ffn_down=Q9_K"), "`Q9_K` is not a tensor type", "one of BF16, F16"
    ),
    "no regular expression": Mistake(
        (*_LEVEL, "--tensor-type", "a(=Q6_K"), "`a(` is not a regular expression"
    ),
    "an output type there is not": Mistake(
        (*_LEVEL, "--output-type", "Q4_K_M"), "`Q4_K_M` is not a", "Q4_K,"
    ),
    "integers for an embedding": Mistake(
        (*_LEVEL, "--token-embedding-type", "I32"), "`I32` is not a", "one of"
    ),
    "no layer": Mistake((*_LEVEL, "--prune-layers", "x"), "`x` is not a layer", "--prune-layers 20,22-24"),
    "a layer there is not": Mistake(
        (*_LEVEL, "--prune-layers", "1-3"), "there is no layer 1", "layers 0 to 0"
    ),
    "no key": Mistake(
        (*_LEVEL, "--override-kv", "a=7"), "`a=7` is not KEY=TYPE:VALUE", "int, float, bool or str"
    ),
    "a value of another type": Mistake(
        (*_LEVEL, "--override-kv", "a=bool:1"), "`1` in `a=bool:1` is not true or"
    ),
    "no threads": Mistake((*_LEVEL, "--threads", "0"), "--threads"),
    "threads in words": Mistake((*_LEVEL, "--threads", "two"), "--threads"),
    "no context": Mistake((*_LEVEL, "--plan", "--context", "0"), "--context"),
    "memory in another unit": Mistake((*_LEVEL, "--max-memory", "4GiB"), "followed by K, M or G, such as 4G"),
    "a scale without an adapter": Mistake(
        (*_LEVEL, "--scale", "2"), "needs an adapter", "--adapter DIRECTORY"
    ),
    "merging nothing": Mistake((*_LEVEL, "--merge-into", "16bit"), "needs an adapter", "--adapter DIRECTORY"),
    "merging into nothing": Mistake((*_LEVEL, "--merge-into", "gguf"), "--merge-into"),
    "an adapter there is not": Mistake(
        (*_LEVEL, "--adapter", "./no"), "no such adapter: ./no", "adapter_config.json", status=1
    ),
    "a base there is not": Mistake((*_LEVEL, "--base", "./no"), "./no", "`localllm list`", status=1),
    "a pre-tokenizer for a file": Mistake(
        (*_LEVEL, "--pre", "qwen2"),
        "`--pre` is for checkpoints, and narrow-F32.gguf is a GGUF file",
        "`--override-kv tokenizer.ggml.pre=str:qwen2`",
    ),
    "a base for a file": Mistake(
        (*_LEVEL, "--base", "."), "`--base` is for checkpoints and adapters", "leave it out"
    ),
    "a matrix there is not": Mistake(
        (*_LEVEL, "--plan", "--imatrix", "atuo"),
        "no such importance matrix: atuo",
        "`localllm imatrix MODEL` makes one, and `--imatrix auto` does",
        status=1,
    ),
    "a text for no matrix": Mistake(
        (*_LEVEL, "--calibration", "text.txt"),
        "`--calibration` is for `--imatrix auto`",
        "add that, or leave",
    ),
    "a context without a plan": Mistake(
        (*_LEVEL, "--context", "512"), "`--context` is for `--plan`", "add that"
    ),
    "layers that a file has or has not": Mistake(
        (*_LEVEL, "--keep-mtp"), "`--keep-mtp` is for checkpoints", "leave it out"
    ),
    "an engine there is not": Mistake((*_LEVEL, "--engine", "llamacpp"), "'localllm', 'llama.cpp'"),
    "an option there is not": Mistake((*_LEVEL, "--frobnicate"), "--frobnicate"),
    "a layer of 5000 digits": Mistake((*_LEVEL, "--prune-layers", "9" * 5000), "999", ""),
    "a number that no float holds": Mistake(
        (*_LEVEL, "--override-kv", "a=float:1e300"), "`a=float:1e300`", ""
    ),
    "another alignment": Mistake(
        (*_LEVEL, "--override-kv", "general.alignment=int:64"), "`general.alignment`", ""
    ),
    "no alignment": Mistake((*_LEVEL, "--override-kv", "general.alignment=str:x"), "`general.alignment`", ""),
    "a text for a matrix that is there": Mistake(
        (*_LEVEL, "--imatrix", "matrix.gguf", "--calibration", "text.txt"),
        "`--calibration` is for `--imatrix auto`",
        "",
    ),
    "too short a text": Mistake(
        (*_LEVEL, "--imatrix", "auto", "--calibration", "text.txt"),
        "at least 2 chunks of 512 are needed",
        "--calibration",
    ),
    "a plan with a text there is not": Mistake(
        (*_LEVEL, "--plan", "--imatrix", "auto", "--calibration", "none.txt"),
        "no such file: none.txt",
        "",
        status=1,
    ),
}


@pytest.fixture
def workplace(narrow: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a model, an importance matrix and a text."""
    place = narrow.parent
    written(some_matrix(narrow), place / "matrix.gguf")
    (place / "text.txt").write_text("abc defg hij " * 20)
    monkeypatch.chdir(place)
    monkeypatch.setattr(Output, "current", None)  # what an earlier command of this process left
    return place


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_and_a_hint(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[name]
    before = files_below(workplace, library())
    status = run(["quantize", "narrow-F32.gguf", *map(str, mistake.arguments)])
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if not line.startswith("note: ")]
    assert status == mistake.status, errors
    assert output == ""
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], errors
    assert mistake.words in lines[0]
    assert mistake.hint in lines[1]
    assert files_below(workplace, library()) == before


def test_a_posix_class_in_a_pattern_is_no_warning(narrow: Path) -> None:
    """llama.cpp's expressions know `[[:digit:]]`, which Python's takes for something else and warns."""
    pattern = "blk.[[:digit:]].ffn_down=Q4_0"
    result = localllm("quantize", narrow, "-q", "Q8_0", "--tensor-type", pattern, "--plan")
    assert result.returncode == 0
    assert result.stderr == ""


# Errors for programs


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("narrow-F32.gguf", "-q", "Q9_9"), 2, "unknown-level"),
        (("narrow-F32.gguf", "-q", "Q8_0", "-o", "narrow-F32.gguf"), 2, "same-file"),
        (("missing.gguf", "-q", "Q8_0"), 1, "not-found"),
        (("narrow-F32.gguf", "-q", "Q8_0", "--override-kv", "a"), 2, "usage"),
    ],
)
def test_errors_as_json(
    arguments: Sequence[str], status: int, code: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quantize", *arguments, "--json"]) == status
    output, errors = capsys.readouterr()
    assert errors == ""
    answer = json.loads(output)
    assert (answer["schema"], answer["command"]) == (1, "quantize")
    assert answer["error"].keys() == {"code", "message", "hint"}
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]


def test_a_wrong_option_as_json(narrow: Path) -> None:
    result = localllm("quantize", narrow, "-q", "Q8_0", "--threads", "0", "--json")
    assert result.returncode == 2
    assert json.loads(result.stdout)["error"]["code"] == "usage"


# What the options did


def test_types_by_name(made: dict[str, Future[Result]]) -> None:
    types = Made(made["types"]).types
    assert types["output.weight"] == "Q5_K"
    assert types["token_embd.weight"] == "Q3_K"
    assert types["blk.0.ffn_down.weight"] == types["blk.1.ffn_down.weight"] == "Q8_0"
    assert types["blk.1.attn_v.weight"] == "F16"
    assert types["blk.0.attn_v.weight"] == "Q4_K", "what is not named is as it would be"


def test_pure_but_for_the_output(made: dict[str, Future[Result]]) -> None:
    types = Made(made["pure"]).types
    assert types.pop("output.weight") == "F32"
    assert {kind for name, kind in types.items() if "norm" not in name} == {"Q4_K"}


def test_another_engine_makes_the_same_bytes(made: dict[str, Future[Result]]) -> None:
    assert Made(made["engine"]).path.read_bytes() == Made(made["pure"]).path.read_bytes()


def test_metadata_and_layers(made: dict[str, Future[Result]]) -> None:
    found = Made(made["metadata"])
    assert found.header.metadata["general.name"] == "Änother name"
    assert found.header.metadata["tiny.new"] == 7
    assert found.header.metadata["tokenizer.ggml.add_bos_token"] is False
    assert found.header.metadata["llama.block_count"] == 1
    assert {name.split(".")[1] for name in found.types if name.startswith("blk.")} == {"0"}


def test_requantizing(made: dict[str, Future[Result]]) -> None:
    assert Made(made["requantized"]).types["blk.0.attn_q.weight"] == "Q4_0"


def test_a_split_model(made: dict[str, Future[Result]]) -> None:
    """--output names the whole; the files get their numbers from it."""
    split = Made(made["split"])
    assert split.entry["files"] == 2
    assert split.path.name == "split-00001-of-00002.gguf"
    assert split.entry["size_bytes"] == sum(path.stat().st_size for path in split.path.parent.glob("split-*"))


def test_a_pre_tokenizer_of_ones_own(made: dict[str, Future[Result]]) -> None:
    assert Made(made["pre"]).header.metadata["tokenizer.ggml.pre"] == "llama-bpe"


def test_adapters(made: dict[str, Future[Result]]) -> None:
    """An adapter with its base is the base with the adapter; strength and manner show in the weights."""
    assert Made(made["adapter"]).header.metadata["general.name"] == "demo-demo-persona"
    names = ("adapter", "base", "scale", "merge-into")
    adapter, base, scale, merged = (Made(made[name]).path.read_bytes() for name in names)
    assert adapter == base
    assert len({adapter, scale, merged}) == 3
