"""`localllm card`: where it writes, what it takes over, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from localllm.comparison.measurement import ComparisonResult
from localllm.errors import CardError, NotFoundError, UsageError
from localllm.report.card import BEGIN, IMAGE
from localllm.verbs import card as verb
from tests.cli.process import localllm
from tests.cli.test_compare_command import compared
from tests.report.examples import REFERENCE, TWELVE, WITHOUT_QUALITY
from tests.tiny_gguf import build_tiny_gguf

COMMIT = "a" * 40


def result_in(folder: Path, source: Path | None = None) -> ComparisonResult:
    """Return a comparison of two files in a folder, which are there, and a reference, which is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for row in TWELVE.measurements[:2]:
        path = folder / f"mine-{row.level}.gguf"
        if not path.exists():
            build_tiny_gguf(path, width=64, layers=1)
        rows.append(replace(row, path=str(path)))
    return replace(TWELVE, measurements=(*rows, REFERENCE), source=None if source is None else str(source))


@pytest.fixture
def last(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the last comparison."""

    def set_last(result: ComparisonResult | None) -> None:
        monkeypatch.setattr(verb, "last", lambda _: result)

    return set_last


def front_matter(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8").split("---")[1])
    return found


def checkpoint(folder: Path, card: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def test_it_lies_beside_the_measured_files(tmp_path: Path, last: Any) -> None:
    last(result_in(tmp_path / "mine"))
    result = verb.card("mine")
    assert result.path == tmp_path / "mine" / "README.md"
    assert result.image == tmp_path / "mine" / IMAGE
    assert result.change is verb.Change.CREATED
    assert result.image.read_bytes().startswith(b"\x89PNG")
    assert "\n# mine\n" in result.path.read_text(encoding="utf-8")
    assert front_matter(result.path)["quantized_by"] == "localllm"


def test_the_same_again_writes_nothing(tmp_path: Path, last: Any) -> None:
    last(result_in(tmp_path / "mine"))
    first = verb.card("mine")
    times = [path.stat().st_mtime_ns for path in (first.path, first.image or first.path)]
    again = verb.card("mine")
    assert again.change is verb.Change.UNCHANGED
    assert [path.stat().st_mtime_ns for path in (again.path, again.image or again.path)] == times
    last(replace(result_in(tmp_path / "mine"), notes=("new",)))
    assert verb.card("mine").change is verb.Change.UPDATED


def test_licence_and_language_come_from_the_checkpoints_card(tmp_path: Path, last: Any) -> None:
    source = checkpoint(
        tmp_path / "finetune",
        "---\nlicense: apache-2.0\nlanguage: [en, fr]\nbase_model: org/base\n"
        "pipeline_tag: text-generation\n---\n",
    )
    before = (source / "README.md").read_bytes()
    last(result_in(tmp_path / "mine", source))
    known = front_matter(verb.card("mine", quantized_by="me").path)
    assert known == {
        "base_model": "org/base",
        "quantized_by": "me",
        "license": "apache-2.0",
        "language": ["en", "fr"],
        "pipeline_tag": "text-generation",
        "tags": ["gguf"],
    }
    assert (source / "README.md").read_bytes() == before


def test_a_checkpoint_of_the_hub_is_the_base_model(
    tmp_path: Path, last: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    source = checkpoint(
        tmp_path / "hub" / "models--org--finetune" / "snapshots" / COMMIT,
        "---\nlicense: mit\nbase_model: org/base\n---\n",
    )
    last(result_in(tmp_path / "mine", source))
    known = front_matter(verb.card("org/finetune").path)
    assert (known["base_model"], known["base_model_relation"]) == ("org/finetune", "quantized")


def test_the_cache_of_the_hub_is_not_written_to(
    tmp_path: Path, last: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    last(result_in(tmp_path / "hub" / "models--org--x" / "snapshots" / COMMIT))
    with pytest.raises(UsageError, match="in the cache of the hub"):
        verb.card("org/x")
    assert verb.card("org/x", output=tmp_path / "out").path == tmp_path / "out" / "README.md"


@pytest.mark.parametrize(
    ("output", "card"), [("new", "new/README.md"), ("there", "there/README.md"), ("my.md", "my.md")]
)
def test_where_to_write_can_be_said(tmp_path: Path, last: Any, output: str, card: str) -> None:
    (tmp_path / "there").mkdir()
    last(result_in(tmp_path / "mine"))
    result = verb.card("mine", output=tmp_path / output)
    assert result.path == tmp_path / card
    assert result.image == (tmp_path / card).with_name(IMAGE)
    assert result.path.is_file()


def test_files_in_several_folders_or_none(tmp_path: Path, last: Any) -> None:
    one, other = result_in(tmp_path / "a"), result_in(tmp_path / "b")
    last(replace(one, measurements=(one.measurements[0], other.measurements[1])))
    with pytest.raises(UsageError, match="in several folders"):
        verb.card("mine")
    last(TWELVE)
    with pytest.raises(UsageError, match="not there any more"):
        verb.card("mine")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"---\na: [\n---\n", f"{BEGIN}\n".encode()])
def test_a_card_that_cannot_be_read_stays_as_it_is(tmp_path: Path, last: Any, content: bytes) -> None:
    last(result_in(tmp_path / "mine"))
    path = tmp_path / "mine" / "README.md"
    path.write_bytes(content)
    with pytest.raises(CardError):
        verb.card("mine")
    assert path.read_bytes() == content
    assert not (tmp_path / "mine" / IMAGE).exists()


def test_without_quality_there_are_no_plots(tmp_path: Path, last: Any) -> None:
    rows = result_in(tmp_path / "mine").measurements
    plain = [
        replace(row, path=known.path) for row, known in zip(WITHOUT_QUALITY.measurements, rows, strict=False)
    ]
    last(replace(WITHOUT_QUALITY, measurements=tuple(plain)))
    result = verb.card("mine", output=tmp_path)
    assert result.image is None
    assert IMAGE not in result.path.read_text(encoding="utf-8")


def test_nothing_was_compared_yet(last: Any) -> None:
    last(None)
    with pytest.raises(NotFoundError, match="`mine` has not been compared yet") as caught:
        verb.card("mine")
    assert caught.value.hint == "`localllm compare mine` measures it"


def test_the_command(tmp_path: Path) -> None:
    result = compared("card", "demo", "-o", tmp_path, "--quantized-by", "me")
    assert (result.returncode, result.stdout) == (0, f"created {tmp_path / 'README.md'}\n"), result.stderr
    again = json.loads(compared("card", "demo", "-o", tmp_path, "--quantized-by", "me", "--json").stdout)
    assert again["data"] == {
        "path": str(tmp_path / "README.md"),
        "image": str(tmp_path / IMAGE),
        "change": "unchanged",
        "run": "20261125-230000-abcd",
    }
    nothing = localllm("card", "demo")
    assert nothing.returncode == 1
    assert "`localllm compare demo` measures it" in nothing.stderr
