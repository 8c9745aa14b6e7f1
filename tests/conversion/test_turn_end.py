"""Answers end: the template's last token and the tokenizer's are both in the file, disagreements are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localllm.checkpoint import open_checkpoint
from localllm.conversion.prepare import Texts, Wishes, prepare_texts
from localllm.events import Event, Notice
from tests.conversion.tiny_llama import ROWS, edit_json, write_tiny_llama
from tests.conversion.tiny_tokenizer import BOS, EOS, SPECIALS

EOT = "tokenizer.ggml.eot_token_id"
TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }}END\n{% endfor %}"


def prepared(directory: Path) -> tuple[Texts, list[Notice]]:
    told: list[Event] = []
    texts = prepare_texts(open_checkpoint(directory), None, ROWS, Wishes(), told.append)
    return texts, [event for event in told if isinstance(event, Notice)]


def tiny(directory: Path, template: str, **tokenizer: Any) -> Path:
    write_tiny_llama(directory)
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    edit_json(directory / "generation_config.json", eos_token_id=None)
    edit_json(directory / "config.json", eos_token_id=None)
    edit_json(directory / "tokenizer_config.json", **tokenizer)
    return directory


def test_another_end_than_the_tokenizers_is_written_too(tmp_path: Path) -> None:
    texts, told = prepared(tiny(tmp_path, TURNS.replace("END", SPECIALS[0])))
    assert texts.metadata[EOT].value == BOS
    assert texts.metadata["tokenizer.ggml.eos_token_id"].value == EOS
    assert [(notice.topic, notice.fixed) for notice in told] == [("end-of-sequence", True)]
    assert f"ends answers with `{SPECIALS[0]}`" in told[0].message


@pytest.mark.parametrize(
    "end", [SPECIALS[1], "{{ eos_token }}", "", f"{SPECIALS[1]}{SPECIALS[0]}", " no token "]
)
def test_nothing_is_added_where_they_agree(end: str, tmp_path: Path) -> None:
    texts, told = prepared(tiny(tmp_path, TURNS.replace("END", end)))
    assert EOT not in texts.metadata
    assert told == []


def test_the_first_token_behind_the_answer_counts(tmp_path: Path) -> None:
    texts, _ = prepared(tiny(tmp_path, TURNS.replace("END", f" \n{SPECIALS[0]}{SPECIALS[1]}")))
    assert texts.metadata[EOT].value == BOS


@pytest.mark.parametrize(("file", "ids"), [("generation_config.json", [BOS]), ("config.json", BOS)])
def test_a_config_that_ends_elsewhere_is_told(file: str, ids: Any, tmp_path: Path) -> None:
    edit_json(tiny(tmp_path, TURNS) / file, eos_token_id=ids)
    _, told = prepared(tmp_path)
    assert len(told) == 1
    assert told[0].message.startswith(f"{file} ends texts with `{SPECIALS[0]}`")
    assert told[0].hint


def test_a_list_that_holds_it_is_fine(tmp_path: Path) -> None:
    edit_json(tiny(tmp_path, TURNS) / "generation_config.json", eos_token_id=[BOS, EOS])
    assert prepared(tmp_path)[1] == []


def test_no_end_at_all_is_told(tmp_path: Path) -> None:
    _, told = prepared(tiny(tmp_path, TURNS, eos_token=None))
    assert "no end-of-sequence token is named" in told[0].message


def test_a_broken_template_is_told(tmp_path: Path) -> None:
    _, told = prepared(tiny(tmp_path, "{% for %}"))
    assert "the model's chat template is broken" in told[0].message
    assert told[0].topic == "chat-template"


def test_a_template_that_rejects_the_conversation_is_fine(tmp_path: Path) -> None:
    assert prepared(tiny(tmp_path, "{{ raise_exception('system first') }}"))[1] == []


def test_a_template_without_end_does_not_stop_the_conversion(tmp_path: Path) -> None:
    endless = "{% for i in range(10**9) %}{% for j in range(10**9) %}{% endfor %}{% endfor %}"
    assert prepared(tiny(tmp_path, endless))[1] == []
