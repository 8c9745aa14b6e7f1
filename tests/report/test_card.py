"""The model card: a section between marks, and front matter from what is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from localllm.comparison.measurement import ComparisonResult
from localllm.report.card import BEGIN, END, IMAGE, Origins, updated_card
from tests.report.examples import FAILED, HOSTILE_RESULT, TWELVE

ORIGINS = Origins(
    base_models=("org/base",),
    is_quantization=True,
    quantized_by="me",
    license="other",
    license_name="mine",
    license_link="LICENSE",
    languages=("en", "de"),
)


def card(existing: str | None, result: ComparisonResult = TWELVE, origins: Origins = ORIGINS) -> str:
    return updated_card(existing, result, name="my-finetune", origins=origins, has_image=True)


def test_a_new_card() -> None:
    text = card(None)
    assert yaml.safe_load(text.split("---")[1]) == {
        "base_model": "org/base",
        "base_model_relation": "quantized",
        "quantized_by": "me",
        "license": "other",
        "license_name": "mine",
        "license_link": "LICENSE",
        "language": ["en", "de"],
        "tags": ["gguf"],
    }
    assert "# my-finetune\n\nGGUF files of [org/base](https://huggingface.co/org/base)" in text
    assert f"]({IMAGE})" in text
    assert "| Q4_K_M | 2.29 MiB |" in text
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


def test_the_same_again_changes_nothing_and_another_result_only_the_section() -> None:
    text = card(None)
    assert card(text) == text
    mine = (
        text.replace("GGUF files of", "My own words.\n\nGGUF files of") + "\nAnd an end\nwithout a line end"
    )
    changed = card(mine, FAILED)
    assert changed.partition(BEGIN)[0] == mine.partition(BEGIN)[0]
    assert changed.partition(END)[2] == mine.partition(END)[2]
    assert "Q5_K_M failed" in changed
    assert "Q4_K_M" not in changed


def test_an_existing_card_keeps_what_it_says() -> None:
    mine = "---\r\nlicense: apache-2.0\r\nbase_model: x/y\r\n---\r\n# Mine\r\n\r\ntext"
    text = card(mine)
    assert text.startswith("---\r\nlicense: apache-2.0\r\nbase_model: x/y\r\nquantized_by: me\r\n")
    known = yaml.safe_load(text.split("---")[1])
    assert "license_name" not in known  # that of another licence
    assert "base_model_relation" not in known
    assert "\r\n# Mine\r\n\r\ntext\r\n\r\n" + BEGIN in text
    assert "\n" not in text.replace("\r\n", "")
    assert card(text) == text


@pytest.mark.parametrize("text", [f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}{END}{BEGIN}{END}", END])
def test_marks_that_are_no_pair_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="are not one pair"):
        card(text)


def test_hostile_names_end_no_section() -> None:
    text = card(None, replace(HOSTILE_RESULT, notes=(END, BEGIN)))
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert card(text, HOSTILE_RESULT) == card(None, HOSTILE_RESULT)


def test_nothing_known() -> None:
    text = card(None, origins=Origins())
    assert yaml.safe_load(text.split("---")[1]) == {"tags": ["gguf"]}
    assert "GGUF files, made and measured with localllm." in text
