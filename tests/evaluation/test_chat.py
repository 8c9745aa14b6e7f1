"""Plain texts as conversations, in the model's own template."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.errors import UsageError
from localllm.evaluation import text_looks_unlike_chat
from localllm.evaluation.chat import conversations, tokenize_chats
from localllm.gguf_file.preflight import read_loadable
from localllm.native.model import Model
from tests.tiny_gguf import build_tiny_gguf

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}{% endfor %}"
)


def test_paragraphs_take_turns() -> None:
    found = list(conversations("One.\n\nTwo,\nand more.\n \n\nThree."))
    assert found == [[("user", "One."), ("assistant", "Two,\nand more."), ("user", "Three.")]]


def test_speakers_are_heard() -> None:
    text = "Question: Why?\nAnswer: Because.\n\nof this.\n\nUser: And?\nassistant: So."
    assert list(conversations(text)) == [
        [
            ("user", "Why?"),
            ("assistant", "Because."),
            ("user", "of this.\n\nAnd?"),
            ("assistant", "So."),
        ]
    ]


def test_an_answer_alone_gets_a_question() -> None:
    assert list(conversations("Answer: Yes.")) == [[("user", "…"), ("assistant", "Yes.")]]


def test_long_texts_are_several_conversations() -> None:
    found = list(conversations("\n\n".join(f"p{number}" for number in range(19))))
    assert [len(turns) for turns in found] == [8, 8, 3]
    assert all(turns[0][0] == "user" for turns in found)
    assert [content for turns in found for _, content in turns] == [f"p{number}" for number in range(19)]


def test_nothing_to_say() -> None:
    assert list(conversations(" \n\n ")) == []


def test_the_models_template_with_its_control_tokens(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path / "chat.gguf", width=64, layers=1, template=TEMPLATE)
    header = read_loadable(path)
    with Model(path, vocabulary_only=True) as model:
        (tokens,) = tokenize_chats(model, header, ["a\n\nb\n\nc"])
        expected = model.tokenize(
            "<s>[user]a</s>[assistant]b</s>[user]c</s>", add_special=False, parse_special=True
        )
    assert tokens == expected
    assert (tokens[0], tokens.count(model.bos), tokens.count(model.eos)) == (model.bos, 1, 3)
    assert text_looks_unlike_chat(header, chat_format=False)
    assert not text_looks_unlike_chat(header, chat_format=True)


def test_a_model_without_template(narrow_gguf: Path) -> None:
    header = read_loadable(narrow_gguf)
    assert not text_looks_unlike_chat(header, chat_format=False)
    with (
        Model(narrow_gguf, vocabulary_only=True) as model,
        pytest.raises(UsageError, match="no chat template"),
    ):
        tokenize_chats(model, header, ["text"])
