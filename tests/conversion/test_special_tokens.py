"""Where BOS, EOS and the others come from, whether they are added, and which chat template is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import open_checkpoint
from localllm.conversion.special_tokens import chat_template_metadata, special_token_metadata
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import TokenizerError
from tests.conversion.tiny_llama import ROWS, TEMPLATE, TinyLlama, edit_json, write_tiny_llama
from tests.conversion.tiny_tokenizer import BOS, EOS, SPECIALS


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny-llama")


def tokens(directory: Path) -> dict[str, Any]:
    checkpoint = open_checkpoint(directory)
    values = special_token_metadata(checkpoint, build_vocabulary(checkpoint, ROWS))
    return {key.removeprefix("tokenizer.ggml."): value.value for key, value in values.items()}


def templates(directory: Path) -> dict[str, Any]:
    values = chat_template_metadata(open_checkpoint(directory))
    return {key.removeprefix("tokenizer."): value.value for key, value in values.items()}


def test_ids_by_text(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", bos_token_id=1, eos_token_id=2)
    edit_json(checkpoint / "tokenizer_config.json", pad_token={"content": SPECIALS[0]}, mask_token="the")
    assert tokens(checkpoint) == {
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "padding_token_id": BOS,
        "mask_token_id": 259,
    }


def test_ids_from_config_json_then_generation_config(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", bos_token=None, eos_token="not a token")
    edit_json(checkpoint / "config.json", bos_token_id=7, eos_token_id=None, pad_token_id=-1)
    edit_json(checkpoint / "generation_config.json", bos_token_id=8, eos_token_id=9)
    assert tokens(checkpoint) == {"bos_token_id": 7, "eos_token_id": 9}


def test_lists_of_ends_are_not_an_id(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", bos_token=None, eos_token=None)
    edit_json(checkpoint / "config.json", bos_token_id=True, eos_token_id=[EOS, BOS])
    assert tokens(checkpoint) == {"bos_token_id": BOS}


def test_an_id_outside_the_vocabulary_is_refused(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", eos_token=None)
    edit_json(checkpoint / "config.json", eos_token_id=ROWS)
    with pytest.raises(TokenizerError, match=f"eos_token_id is {ROWS}, but there are {ROWS} tokens"):
        tokens(checkpoint)


def test_bos_is_added_when_the_template_begins_with_it(tmp_path: Path) -> None:
    checkpoint = write_tiny_llama(tmp_path, TinyLlama(adds_bos=True))
    edit_json(checkpoint / "tokenizer_config.json", add_bos_token=False, add_eos_token=False)
    found = tokens(checkpoint)
    assert found["add_bos_token"] is True
    assert found["add_eos_token"] is False


def test_a_template_with_another_token_is_not_bos(tmp_path: Path) -> None:
    checkpoint = write_tiny_llama(tmp_path, TinyLlama(adds_bos=True))
    edit_json(checkpoint / "tokenizer_config.json", bos_token="Hello")
    assert tokens(checkpoint)["add_bos_token"] is False


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (None, {"add_bos_token": True}),
        ({"type": "ByteLevel"}, {"add_bos_token": False, "add_eos_token": False}),
        (
            {"type": "RobertaProcessing"},
            {"add_bos_token": True, "add_eos_token": True, "add_sep_token": True},
        ),
        (
            {"type": "Sequence", "processors": [{"type": "ByteLevel"}]},
            {"add_bos_token": False, "add_eos_token": False},
        ),
    ],
)
def test_the_post_processor_wins_over_the_configuration(
    processor: dict[str, Any] | None, expected: dict[str, bool], checkpoint: Path
) -> None:
    edit_json(checkpoint / "tokenizer.json", post_processor=processor)
    edit_json(checkpoint / "tokenizer_config.json", add_bos_token=True)
    found = {key: value for key, value in tokens(checkpoint).items() if key.startswith("add_")}
    assert found == expected


def test_add_prefix_space_is_carried_over(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", add_prefix_space=False)
    assert tokens(checkpoint)["add_space_prefix"] is False


def test_the_template_file_wins(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template="from the configuration")
    assert templates(checkpoint) == {"chat_template": TEMPLATE}
    (checkpoint / "chat_template.jinja").unlink()
    edit_json(checkpoint / "chat_template.json", chat_template="from chat_template.json")
    assert templates(checkpoint) == {"chat_template": "from the configuration"}
    edit_json(checkpoint / "tokenizer_config.json", chat_template=None)
    assert templates(checkpoint) == {"chat_template": "from chat_template.json"}


def test_named_templates_are_sorted_and_their_names_made_safe(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    entries = [{"name": name, "template": f"<{name}>"} for name in ("tool use", "default", "rag")]
    edit_json(checkpoint / "tokenizer_config.json", chat_template=entries)
    assert templates(checkpoint) == {
        "chat_templates": ["rag", "tool_use"],
        "chat_template.rag": "<rag>",
        "chat_template.tool_use": "<tool use>",
        "chat_template": "<default>",
    }


def test_no_template_no_keys(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    assert templates(checkpoint) == {}
