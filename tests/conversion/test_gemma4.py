"""Gemma 4: its vocabulary is the published one, and what is odd about a checkpoint is understood or refused.

That tensors and keys equal the reference's and logits transformers' is tested with all families.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localllm.checkpoint import Checkpoint, open_checkpoint
from localllm.conversion.convert import convert
from localllm.conversion.families import family_of
from localllm.conversion.prepare import Wishes, prepare_texts
from localllm.conversion.tokens import TokenType, Vocabulary
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import CheckpointError, TokenizerError, UnsupportedModelError
from localllm.events import Event, Notice, ignore
from localllm.gguf_file import read_header
from tests.conversion.logits import load_golden, relative_difference, runtime_logits
from tests.conversion.test_layouts import converted, read_weights
from tests.conversion.tiny_families import write_tiny_family
from tests.conversion.tiny_llama import TinyLlama, edit_json, write_weights
from tests.conversion.tiny_pairs import ROWS
from tests.conversion.vocabulary_files import write_vocabulary

# of llama.cpp's own vocabulary of Gemma 4, ggml-vocab-gemma-4.gguf
PUBLISHED = {
    "tokens": "d928325b157c8c75c224fbe56d1c46b13c2848e583d2097489b195950e09412f",
    "types": "3e86e167504dc4eaacc351db8c9b4ea94f22b34d411dde3acd9d8702425be594",
    "merges": "6471e7bb979c0bc515e5e284fced20d496fcfe9e0aeaa1209179305632f53ef7",
}
TOLERANCE = 2e-3  # as for the family itself: GELU is looked up in a table


def built(directory: Path, rows: int = ROWS) -> Vocabulary:
    return build_vocabulary(open_checkpoint(directory), rows, kind="gemma4")


def edited(directory: Path, change: Callable[[dict[str, Any]], object], name: str = "tokenizer.json") -> Path:
    """Write the tiny checkpoint with another tokenizer.json."""
    write_tiny_family(directory, "gemma4-ple")
    content = json.loads((directory / name).read_text(encoding="utf-8"))
    change(content)
    (directory / name).write_text(json.dumps(content), encoding="utf-8")
    return directory


def kind_of(vocabulary: Vocabulary, text: str) -> TokenType:
    return TokenType(vocabulary.types[vocabulary.ids[text]])


def test_the_published_vocabulary(material: Path, tmp_path: Path) -> None:
    directory = material / "assembled" / "gemma-4"
    settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    checkpoint = Checkpoint(directory, config={}, tensors={}, tokenizer_config=settings)
    vocabulary = build_vocabulary(checkpoint, 262_144, kind="gemma4")
    assert vocabulary.merges is not None
    for name, digest in PUBLISHED.items():
        lines = "\n".join(map(repr, getattr(vocabulary, name)))
        assert hashlib.sha256(lines.encode()).hexdigest() == digest, name
    assert Counter(vocabulary.types) == {1: 261_864, 3: 17, 4: 7, 6: 256}
    assert set(vocabulary.scores or ()) == {-1000.0}
    path = write_vocabulary(tmp_path, checkpoint, vocabulary)
    header = read_header(path)
    assert header.metadata["tokenizer.ggml.model"] == "gemma4"
    assert "tokenizer.ggml.pre" not in header.metadata
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert header.metadata["tokenizer.ggml.add_space_prefix"] is False


def test_types_of_added_tokens(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        vocabulary = content["model"]["vocab"]
        for text, special in (("<unused1>", False), ("<unused2>", True), ("\u2581\u2581", False)):
            entry = {"id": vocabulary[text], "content": text, **flags, "special": special}
            content["added_tokens"].append(entry)

    vocabulary = built(edited(tmp_path / "added", change))
    assert kind_of(vocabulary, "<unused1>") is TokenType.USER_DEFINED
    assert kind_of(vocabulary, "<unused2>") is TokenType.CONTROL
    assert kind_of(vocabulary, "<unused3>") is TokenType.NORMAL
    assert kind_of(vocabulary, "\u2581\u2581") is TokenType.NORMAL  # llama.cpp would show the mark
    assert kind_of(vocabulary, "<|channel>") is TokenType.USER_DEFINED  # though it is named as special
    assert kind_of(vocabulary, "<unk>") is TokenType.CONTROL
    convert(tmp_path / "added", output=tmp_path / "added.gguf")  # which compares the tokens of samples


def test_bos_is_added_whatever_the_tokenizer_says(tmp_path: Path) -> None:
    """llama.cpp does so with this kind of vocabulary; the file says what happens."""
    directory = edited(tmp_path / "plain", lambda content: content.update(post_processor=None))
    edit_json(directory / "tokenizer_config.json", add_bos_token=False)
    checkpoint = open_checkpoint(directory)
    family = family_of(checkpoint.architecture, checkpoint.config)
    texts = prepare_texts(checkpoint, family, ROWS, Wishes(), ignore)
    assert texts.metadata["tokenizer.ggml.add_bos_token"].value is True


def test_a_byte_without_a_token_is_refused(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary["<zero>"] = vocabulary.pop("<0x00>")

    with pytest.raises(TokenizerError, match="no token for byte 0x00"):
        built(edited(tmp_path / "bytes", change))


def test_rows_without_a_token(tmp_path: Path) -> None:
    """The reference's file does not load: it has fewer tokens than rows."""

    def change(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        content["model"]["vocab"] = {text: index for text, index in vocabulary.items() if index < ROWS - 10}

    directory = edited(tmp_path / "fewer", change)
    assert TokenType(built(directory).types[-1]) is TokenType.UNUSED
    assert relative_difference(runtime_logits(directory), load_golden("gemma4-ple")) < TOLERANCE


def test_keys_that_are_not_used(tmp_path: Path) -> None:
    """Older checkpoints hold keys and values of layers that use those of others; they change nothing."""
    directory = write_tiny_family(tmp_path / "unused", "gemma4-ple")
    tensors, dtype = read_weights(directory)
    own = {
        name: values
        for name, values in tensors.items()
        if any(k in name for k in ("k_proj", "v_proj", "k_norm"))
    }
    tensors |= {
        name.replace(f".{layer}.", f".{layer + 2}.", 1): -values
        for name, values in own.items()
        for layer in (0, 1)
        if f"layers.{layer}." in name
    }
    write_weights(directory, tensors, TinyLlama(dtype))
    assert relative_difference(runtime_logits(directory), load_golden("gemma4-ple")) < TOLERANCE


def test_other_key_value_heads_count_only_where_values_are_keys(tmp_path: Path) -> None:
    """As in transformers: `num_global_key_value_heads` alone means nothing."""
    directory = write_tiny_family(tmp_path / "heads", "gemma4-ple")
    expected = converted(directory, tmp_path / "without.gguf")
    config = json.loads((directory / "config.json").read_text())
    edit_json(
        directory / "config.json", text_config={**config["text_config"], "num_global_key_value_heads": 1}
    )
    assert converted(directory, tmp_path / "with.gguf") == expected


@pytest.mark.parametrize("numbers", [("1", "3"), ("01", "03")])
def test_both_spellings_of_what_differs_by_layer(numbers: tuple[str, str], tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "gemma4", "gemma4")
    expected = converted(directory, tmp_path / "global.gguf")
    by_layer = {number: {"head_dim": 32, "num_key_value_heads": 1} for number in numbers}
    changes = {"global_head_dim": None, "num_global_key_value_heads": None}
    edit_json(directory / "config.json", per_layer_config=by_layer, **changes)
    assert converted(directory, tmp_path / "layers.gguf") == expected


def test_the_parts_that_see_and_hear_are_left_out(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "gemma4", "gemma4-ple")
    expected = converted(directory, tmp_path / "text.gguf")
    tensors, dtype = read_weights(directory)
    for name in ("vision_tower.x", "audio_tower.x", "embed_vision.x", "embed_audio.x"):
        tensors[f"model.{name}.weight"] = np.ones((4, 4), np.float32)
    write_weights(directory, tensors, TinyLlama(dtype))
    told: list[Event] = []
    convert(directory, output=tmp_path / "x.gguf", emit=told.append)
    messages = [event.message for event in told if isinstance(event, Notice) and event.topic == "left-out"]
    assert messages == [
        "left out `model.audio_tower.x.weight`: one of 4 tensors that are not of the language model"
    ]
    assert converted(directory, tmp_path / "whole.gguf") == expected


def test_embeddings_for_each_layer_have_a_row_for_each_token(tmp_path: Path) -> None:
    directory = write_tiny_family(tmp_path / "gemma4", "gemma4-ple")
    tensors, dtype = read_weights(directory)
    name = "model.language_model.embed_tokens_per_layer.weight"
    tensors[name] = tensors[name][:-1]
    write_weights(directory, tensors, TinyLlama(dtype))
    with pytest.raises(CheckpointError, match=r"`per_layer_token_embd.weight` has shape \[32, 383\]"):
        convert(directory, output=tmp_path / "x.gguf")


def test_a_draft_model_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="is a draft model"):
        family_of("Gemma4AssistantForCausalLM")
