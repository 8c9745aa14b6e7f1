"""What options make of a model is loaded by llama.cpp before a weight is written.

More such options are in tests/cli/test_quantize_faults.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.conversion.convert import convert
from localllm.errors import QuantizationError
from localllm.events import Event, Notice
from localllm.gguf_file.split_names import model_files
from localllm.quantization.options import Override, QuantizationOptions
from localllm.store import shipped_checkpoint
from tests.quantization.making import make, plan
from tests.tiny_gguf import build_tiny_gguf

RENAMED = QuantizationOptions(overrides=(Override("general.name", "str", "new"),))
TOO_LONG = QuantizationOptions(overrides=(Override("llama.block_count", "int", 7),))


def test_a_source_that_is_not_loaded_either_is_no_reason(tmp_path: Path) -> None:
    """Whoever quantizes a part of a model knows what for; the options did not break it."""
    source = build_tiny_gguf(tmp_path / "part.gguf", tensors={"output_norm.weight": None})
    told: list[Event] = []
    make(source, ["Q8_0"], tmp_path, options=RENAMED, emit=told.append)
    (notice,) = [event for event in told if isinstance(event, Notice) and event.topic == "load"]
    assert notice.message.startswith(f"llama.cpp loads neither {source} nor what becomes of it: ")
    assert "output_norm.weight" in notice.message


def test_without_such_options_nothing_is_loaded(tmp_path: Path) -> None:
    source = build_tiny_gguf(tmp_path / "part.gguf", tensors={"output_norm.weight": None})
    told: list[Event] = []
    make(source, ["Q8_0"], tmp_path, emit=told.append)
    assert not [event for event in told if isinstance(event, Notice) and event.topic == "load"]


def test_the_files_of_a_split_model_are_loaded_together(tmp_path: Path) -> None:
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    source = convert(checkpoint, output=tmp_path / "demo.gguf", split_max_bytes=4_000_000).path
    assert len(model_files(source)) == 2
    both = QuantizationOptions(keep_split=True, overrides=RENAMED.overrides)
    assert len(plan(source, ["Q8_0"], tmp_path, options=both).paths[0]) == 2
    wrong = QuantizationOptions(keep_split=True, overrides=TOO_LONG.overrides)
    with pytest.raises(QuantizationError, match=r"llama\.cpp would not load the result: "):
        plan(source, ["Q8_0"], tmp_path, options=wrong)


def test_nothing_is_written_before(tmp_path: Path) -> None:
    source = build_tiny_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(QuantizationError, match=r"tensor 'blk\.2\.attn_norm\.weight' not found"):
        make(source, ["Q8_0", "Q4_0"], tmp_path / "new", options=TOO_LONG)
    assert list(tmp_path.iterdir()) == [source]
