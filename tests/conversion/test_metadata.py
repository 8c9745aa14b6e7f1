"""The `general.*` keys: from the model card, cleaned; whatever is wrong with a card, the model converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.checkpoint import StoredTensor, open_checkpoint
from localllm.conversion.metadata import general_metadata
from localllm.conversion.plan import ConversionPlan, PlannedTensor
from localllm.conversion.sources import Rows
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.gguf_file.writer import TensorEntry
from tests.conversion.tiny_llama import edit_json, write_tiny_llama


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "Tiny-Model-1M-chat")


def general(directory: Path, name: str | None = None, kind: str = "F16") -> dict[str, Any]:
    weights = StoredTensor("w", "F32", (500, 210), directory, 0, 0)
    entry = TensorEntry("w", (210, 500), TENSOR_TYPES_BY_NAME[kind])
    plan = ConversionPlan((PlannedTensor(entry, (Rows(weights, 0, 500),)),), entry.type, 0, ())
    values = general_metadata(open_checkpoint(directory), "llama", plan, name)
    return {key.removeprefix("general."): value.value for key, value in values.items()}


def write_card(directory: Path, front_matter: str) -> None:
    (directory / "README.md").write_text(f"---\n{front_matter}\n---\n# Text\n", encoding="utf-8")


def test_the_front_matter_is_read(checkpoint: Path) -> None:
    write_card(
        checkpoint,
        "model_name: My Model\nlicense: mit\ntags: [a, b]\nlanguage: en\nbase_model: [org/Base-7B]",
    )
    found = general(checkpoint)
    assert found["name"] == "My Model"
    assert found["license"] == "mit"
    assert found["tags"] == ["a", "b"]
    assert found["languages"] == ["en"]
    assert found["base_model.count"] == 1
    assert found["base_model.0.repo_url"] == "https://huggingface.co/org/Base-7B"


def test_without_a_card_the_directory_gives_the_name(checkpoint: Path) -> None:
    found = general(checkpoint)
    assert (found["name"], found["finetune"], found["size_label"]) == (
        "Tiny Model 1M Chat",
        "1m-chat",
        "105K",
    )


def test_a_given_name_wins(checkpoint: Path) -> None:
    write_card(checkpoint, "model_name: from the card")
    assert general(checkpoint, name="mine")["name"] == "mine"


@pytest.mark.parametrize(("kind", "code"), [("F32", 0), ("F16", 1), ("Q8_0", 7), ("BF16", 32)])
def test_the_file_type_is_llama_cpps(kind: str, code: int, checkpoint: Path) -> None:
    found = general(checkpoint, kind=kind)
    assert (found["file_type"], found["architecture"], found["type"]) == (code, "llama", "model")


@pytest.mark.parametrize(
    "front_matter",
    [
        "tags: [unclosed",
        "a: b: c",
        "\ttabs: are not allowed",
        "- a list\n- instead",
        "just text",
        "",
        "license: !!python/object/apply:os.system ['false']",
    ],
)
def test_a_broken_card_says_nothing(front_matter: str, checkpoint: Path) -> None:
    without = general(checkpoint)
    write_card(checkpoint, front_matter)
    assert general(checkpoint) == without


def test_a_card_that_is_not_text_says_nothing(checkpoint: Path) -> None:
    without = general(checkpoint)
    (checkpoint / "README.md").write_bytes(b"---\nname: \xff\xfe\n---\n")
    assert general(checkpoint) == without


def test_the_architecture_cannot_be_forged(checkpoint: Path) -> None:
    write_card(checkpoint, "architecture: evil\ntype: adapter\nname: x")
    found = general(checkpoint)
    assert (found["architecture"], found["type"]) == ("llama", "model")


def test_long_texts_are_capped(checkpoint: Path) -> None:
    write_card(checkpoint, f"description: {'x' * 50_000}\ntags: [{'y' * 50_000}]")
    found = general(checkpoint)
    assert len(found["description"]) == 16_384
    assert [len(tag) for tag in found["tags"]] == [16_384]


@given(text=st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=40))
def test_no_control_character_survives(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoint = write_tiny_llama(tmp_path_factory.mktemp("card"))
    escaped = "".join(f"\\U{ord(character):08x}" for character in text)
    write_card(checkpoint, f'description: "{escaped}"')
    description = general(checkpoint).get("description", "")
    assert description == "".join(
        character for character in text if character.isprintable() or character == "\n"
    )


def test_sampling_defaults_are_carried_over(checkpoint: Path) -> None:
    edit_json(
        checkpoint / "generation_config.json",
        temperature=1,
        top_k=5.0,
        repetition_penalty=1.1,
        min_p=True,
        top_p="high",
    )
    found = general(checkpoint)
    sampling = {key: value for key, value in found.items() if key.startswith("sampling.")}
    assert sampling == {"sampling.temp": 1.0, "sampling.top_k": 5, "sampling.penalty_repeat": 1.1}


def test_a_damaged_generation_config_counts_as_missing(checkpoint: Path) -> None:
    (checkpoint / "generation_config.json").write_text("{broken", encoding="utf-8")
    assert not [key for key in general(checkpoint) if key.startswith("sampling.")]
