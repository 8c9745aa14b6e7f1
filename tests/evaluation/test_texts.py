"""Which text a model is evaluated on."""

from __future__ import annotations

from pathlib import Path

from localllm.evaluation import evaluation_texts
from localllm.evaluation.texts import SAMPLE
from localllm.imatrix import builtin_text
from localllm.library.provenance import Made, record
from localllm.store import models_directory, shipped_checkpoint


def test_what_is_given_comes_first(tmp_path: Path) -> None:
    (tmp_path / "eval.txt").write_text("own")
    given = [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert evaluation_texts([tmp_path / "m-Q8_0.gguf"], given) == (given, "given")


def test_then_the_models_own(tmp_path: Path) -> None:
    (tmp_path / "eval.txt").write_text("own")
    for model in (tmp_path / "m-Q8_0.gguf", tmp_path):
        assert evaluation_texts([model]) == ([tmp_path / "eval.txt"], "model")


def test_the_demos_is_in_its_checkpoint(tmp_path: Path) -> None:
    demo = shipped_checkpoint("demo")
    assert demo is not None
    assert evaluation_texts([tmp_path / "demo-Q2_K.gguf"]) == ([demo / "eval.txt"], "model")
    assert evaluation_texts([demo]) == ([demo / "eval.txt"], "model")


def test_a_file_of_the_library_remembers_what_it_was_made_from(tmp_path: Path) -> None:
    checkpoint = tmp_path / "my-finetune"
    checkpoint.mkdir()
    (checkpoint / "eval.txt").write_text("own")
    path = models_directory() / "my-finetune" / "my-finetune-Q8_0.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    record([path], Made("quantize", str(checkpoint)))
    assert evaluation_texts([path.parent, path]) == ([checkpoint / "eval.txt"], "model")


def test_at_last_the_sample(tmp_path: Path) -> None:
    assert evaluation_texts([tmp_path / "m-Q8_0.gguf"]) == ([SAMPLE], "sample")


def test_the_sample_is_a_text_of_its_own() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    assert 6000 <= len(text.split()) <= 9000
    assert "\0" not in text
    assert "\ufffd" not in text
    calibration = {line for line in builtin_text()[1].splitlines() if len(line) > 40}
    assert not calibration & set(text.splitlines())
