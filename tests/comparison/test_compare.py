"""Comparisons of the demo model, really measured: figures, events, failures, and nothing measured twice."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from localllm.comparison import ComparisonResult, Measurement
from localllm.comparison import quality as quality_module
from localllm.comparison import run as run_module
from localllm.comparison.data import from_data
from localllm.comparison.history import runs
from localllm.comparison.places import references_directory
from localllm.errors import UsageError
from localllm.events import Emit, Event, Finished, Found, Started, ignore
from localllm.native.worker import run_job
from localllm.store import models_directory, shipped_checkpoint
from localllm.verbs.compare import compare
from localllm.verbs.quantize import quantize

QUICK: dict[str, Any] = {
    "repetitions": 2,
    "prompt_tokens": 32,
    "generated_tokens": 8,
    "max_chunks": 2,
    "prompts": ["What is GGUF?"],
}


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The jobs that children did: the entry's function, and the file."""
    done: list[tuple[str, str]] = []

    def spying(entry: str, arguments: dict[str, Any], *, emit: Emit = ignore) -> Any:
        done.append((entry.partition(":")[2], Path(arguments.get("path", "")).name))
        return run_job(entry, arguments, emit=emit)

    for module in (run_module, quality_module):
        monkeypatch.setattr(module, "run_job", spying)
    return done


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "few.jsonl"
    questions = [
        {"prompt": "What sort of format is GGUF?", "expect": "single-file", "kind": "open"},
        {
            "prompt": "What is GGUF?",
            "choices": ["GGUF is the single-file model format", "a cat"],
            "answer": 0,
        },
    ]
    path.write_text("\n".join(map(json.dumps, questions)))
    return path


def row(result: ComparisonResult, level: str) -> Measurement:
    return next(each for each in result.measurements if each.level == level)


def of(demo_files: dict[str, Path], *levels: str) -> list[Path]:
    return [demo_files[level] for level in levels]


def test_every_column_is_filled_and_nothing_is_measured_twice(
    demo_files: dict[str, Path], jobs: list[tuple[str, str]], task: Path
) -> None:
    models = of(demo_files, "Q8_0", "BF16", "Q2_K")
    events: list[Event] = []
    result = compare(models, tasks=[task], emit=events.append, **QUICK)
    assert [each.level for each in result.measurements] == ["Q2_K", "Q8_0", "BF16"]
    assert (result.model, result.reference, result.failed) == ("demo", "BF16", False)
    for each in result.measurements:
        assert each.size_bytes == Path(each.path).stat().st_size
        assert each.bits_per_weight
        assert each.load_seconds
        assert each.peak_memory_bytes
        assert each.estimated_memory_bytes
        assert each.prompt_tokens_per_second
        assert len(each.prompt_tokens_per_second.samples) == 2
        assert each.generation_tokens_per_second
        assert each.perplexity
        assert each.answers[0].text.startswith("GGUF is the single-file")
        assert (each.tasks[0].right, each.tasks[0].total) == (2, 2)
        assert (each.kl_divergence is None) == each.is_reference
        assert each.share_of_reference == pytest.approx(each.size_bytes / models[1].stat().st_size)
    first, second = (row(result, level).kl_divergence for level in ("Q2_K", "Q8_0"))
    assert first
    assert second
    assert first.value > second.value
    assert result.settings.chunks == 2
    assert result.settings.evaluated_tokens == 2 * 255
    assert result.advice.smallest == "Q2_K"
    assert next(runs()) == result

    assert events[-1] == Finished("compare")
    assert Started("compare", 12, "files") in events
    last = {}
    for event in events:
        if isinstance(event, Found):
            last[event.data["path"]] = from_data(Measurement, event.data)
    assert tuple(last[each.path] for each in result.measurements) == result.measurements

    jobs.clear()
    again = compare(models, tasks=[task], **QUICK)
    assert [job for job in jobs if job[0] != "devices_job"] == []
    assert again.measurements == result.measurements
    compare(models[:2], tasks=[task], force=True, **QUICK)
    assert len(jobs) == 2 * 4


def test_other_settings_are_measured(demo_files: dict[str, Path], jobs: list[tuple[str, str]]) -> None:
    models = of(demo_files, "Q2_K", "BF16")
    compare(models, quality=False, **{**QUICK, "prompts": []})
    compare(models, quality=False, **{**QUICK, "prompts": [], "repetitions": 3})
    compare(models, quality=False, **{**QUICK, "prompts": [], "depth": 8})
    assert [name for name, _ in jobs] == ["benchmark_job"] * 6


def test_a_child_that_dies_costs_its_row(
    demo_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(entry: str, arguments: dict[str, Any], *, emit: Emit = ignore) -> Any:
        if "Q2_K" in arguments.get("path", "") and entry.endswith("benchmark_job"):
            entry = "tests.comparison.dying:die_job"
        return run_job(entry, arguments, emit=emit)

    monkeypatch.setattr(run_module, "run_job", dying)
    result = compare(of(demo_files, "Q2_K", "Q8_0", "BF16"), **QUICK)
    failed = row(result, "Q2_K")
    assert failed.error is not None
    assert "SIGABRT" in failed.error or os.name == "nt"
    assert "GGML_ASSERT(false) failed" in failed.error
    assert (failed.perplexity, failed.answers) == (None, ())
    assert row(result, "Q8_0").kl_divergence is not None
    assert result.failed
    assert result.advice.smallest == "Q8_0"


def test_a_reference_that_dies_leaves_the_rest(
    demo_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(entry: str, arguments: dict[str, Any], *, emit: Emit = ignore) -> Any:
        if "BF16" in arguments.get("path", ""):
            entry = "tests.comparison.dying:die_job"
        return run_job(entry, arguments, emit=emit)

    monkeypatch.setattr(run_module, "run_job", dying)
    result = compare(of(demo_files, "Q8_0", "BF16"), **QUICK)
    assert row(result, "BF16").error
    assert row(result, "Q8_0").error is None
    assert row(result, "Q8_0").perplexity
    assert row(result, "Q8_0").kl_divergence is None
    assert row(result, "Q8_0").answers[0].departs_at is None
    assert any("the reference could not be run" in note for note in result.notes)


def test_a_reference_that_dies_of_the_text_leaves_perplexities(
    demo_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(entry: str, arguments: dict[str, Any], *, emit: Emit = ignore) -> Any:
        is_it = "BF16" in arguments["path"]
        return run_job("tests.comparison.dying:die_job" if is_it else entry, arguments, emit=emit)

    monkeypatch.setattr(quality_module, "run_job", dying)
    result = compare(of(demo_files, "Q8_0", "BF16"), speed=False, max_chunks=1)
    assert row(result, "BF16").error
    assert row(result, "Q8_0").perplexity
    assert row(result, "Q8_0").kl_divergence is None
    assert result.settings.evaluated_tokens == 255


@pytest.mark.parametrize("damage", ["scores", "predictions", "everything"])
def test_damaged_results_are_made_again(
    damage: str, demo_files: dict[str, Path], jobs: list[tuple[str, str]]
) -> None:
    options = {"max_chunks": 1, "speed": False}
    models = of(demo_files, "Q2_K", "BF16")
    before = compare(models, **options)  # type: ignore[arg-type]
    jobs.clear()
    (place,) = references_directory().iterdir()
    for path in place.glob("*.npz") if damage == "scores" else ():
        path.write_bytes(path.read_bytes()[:100])
    for path in (place / "reference").iterdir() if damage != "scores" else ():
        path.write_bytes(b"damaged")
    if damage == "everything":
        for path in place.glob("*.npz"):
            path.unlink()
    again = compare([*models, demo_files["Q8_0"]], **options)  # type: ignore[arg-type]
    assert not again.failed
    assert row(again, "Q2_K").kl_divergence == row(before, "Q2_K").kl_divergence
    assert row(again, "Q8_0").kl_divergence


def test_levels_are_made_and_kept(jobs: list[tuple[str, str]]) -> None:
    events: list[Event] = []
    result = compare(["demo"], levels=["Q2_K"], quality=False, emit=events.append, **{**QUICK, "prompts": []})
    folder = models_directory() / "demo"
    assert sorted(path.name for path in folder.glob("*.gguf")) == ["demo-BF16.gguf", "demo-Q2_K.gguf"]
    assert [each.path for each in result.measurements] == [
        str(folder / "demo-Q2_K.gguf"),
        str(folder / "demo-BF16.gguf"),
    ]
    planned = next(event for event in events if isinstance(event, Found))
    assert (planned.data["path"], planned.data["size_bytes"]) == (str(folder / "demo-Q2_K.gguf"), None)
    assert result.source == str(shipped_checkpoint("demo"))
    assert len([event for event in events if event == Finished("quantize")]) == 1


def test_levels_are_made_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = compare(["demo"], levels=["Q2_K"], keep=False, quality=False, **{**QUICK, "prompts": []})
    assert [each.level for each in result.measurements] == ["Q2_K", "BF16"]
    assert list(tmp_path.iterdir()) == []
    assert not list(models_directory().rglob("*.gguf"))


def test_the_level_a_comparison_advised(demo_files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="there is none of `demo`") as raised:
        quantize("demo", ["auto"])
    assert "localllm compare demo" in (raised.value.hint or "")
    compare(["demo"], levels=["Q2_K,Q8_0"], speed=False, max_chunks=2)
    compare(["demo"], levels=["Q8_0"], quality=False, **{**QUICK, "prompts": []})  # this one advises no level
    events: list[Event] = []
    (made,) = quantize("demo", ["AUTO"], emit=events.append)
    assert made.level == "Q2_K"
    assert any("taking Q2_K" in getattr(event, "message", "") for event in events)


def test_a_loss_that_no_level_keeps_advises_none() -> None:
    compare(["demo"], levels=["Q2_K"], speed=False, max_chunks=1, max_loss=0.0001)
    with pytest.raises(UsageError, match="advised no level"):
        quantize("demo", ["auto"])


def test_notes_about_the_reference(demo_files: dict[str, Path]) -> None:
    def notes(levels: Sequence[str]) -> str:
        return " ".join(compare(of(demo_files, *levels), speed=False, quality=False).notes)

    assert "`--against` names what to compare" in notes(["Q2_K"])
    assert "is quantized itself" in notes(["Q2_K", "Q8_0"])
    assert notes(["Q2_K", "BF16"]) == ""


def test_plain_text_is_noted_for_a_chat_model(demo_files: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "plain.txt"
    text.write_text("All this is plain text, and goes on and on. " * 200)
    models = of(demo_files, "Q2_K", "BF16")
    plain = compare(models, texts=[text], speed=False, max_chunks=1)
    assert plain.settings.text_source == "given"
    assert any("`--chat-format`" in note for note in plain.notes)
    chats = compare(models, texts=[text], chat_format=True, speed=False, max_chunks=1)
    assert not any("`--chat-format`" in note for note in chats.notes)
    assert row(chats, "BF16").perplexity != row(plain, "BF16").perplexity


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_loss": 1.5}, "must be a share"),
        ({"quality": False, "chat_format": True}, "measures on no text"),
        ({"context_size": 2}, "at least 8 tokens"),
        ({"repetitions": 0}, "`repetitions` must be above 0"),
        ({"max_minutes": -1.0}, "`max_minutes` must be above 0"),
    ],
)
def test_options_that_make_no_sense(
    options: dict[str, Any], problem: str, demo_files: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match=problem):
        compare([demo_files["Q2_K"]], **options)


def test_a_text_that_is_too_short_is_refused_at_once(
    tmp_path: Path, demo_files: dict[str, Path], jobs: list[tuple[str, str]]
) -> None:
    text = tmp_path / "short.txt"
    text.write_text("too short")
    with pytest.raises(UsageError, match="too little for two windows"):
        compare([demo_files["Q2_K"]], texts=[text])
    assert jobs == []


def test_models_that_do_not_belong_together(demo_files: dict[str, Path], narrow_gguf: Path) -> None:
    with pytest.raises(UsageError, match="different vocabularies"):
        compare([demo_files["Q2_K"], narrow_gguf])
