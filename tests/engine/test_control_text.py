"""Control tokens come from the template alone; harmless prompts are tokenized as llama.cpp does it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.chat_template import ChatTemplate
from localllm.engine.control_text import ControlTextGuard
from localllm.engine.prompts import Prompts, _special_tokens
from localllm.events import ignore
from localllm.gguf_file import read_header
from localllm.gguf_file.format import Key
from localllm.native.model import Model, TokenAttribute

CONTROL_TEXTS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>")
FRAGMENTS = (
    *CONTROL_TEXTS,
    "<|im_",
    "start|>",
    "<",
    "</",
    "s>",
    "|>",
    "[INST]",
    " ",
    "\n",
    "ab",
    "é",
    "😀",
    "a <",
    "> b",
)
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=8).map("".join)
harmless = st.lists(
    st.sampled_from(("ab", " cd", "\n", "  ", "é", "😀", "[INST]", "1", ".", "a b")), max_size=8
).map("".join)


@dataclass
class Loaded:
    model: Model
    guard: ControlTextGuard
    template: ChatTemplate
    prompts: Prompts

    def control(self, tokens: list[int]) -> list[int]:
        return [token for token in tokens if self.model.attributes(token) & TokenAttribute.CONTROL]

    def plainly(self, messages: list[dict[str, str]]) -> list[int]:
        """Tokenize as llama.cpp's own programs do: the whole prompt at once."""
        text = self.template.render(messages)
        tokens = self.model.tokenize(text, add_special=False, parse_special=True)
        missing = self.model.adds_bos and tokens[0] != self.model.bos
        return [self.model.bos, *tokens] if missing else tokens


@pytest.fixture(scope="module", params=["demo_path", "spm_path", "bpe_path"])
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    path: Path = request.getfixturevalue(request.param)
    header = read_header(path)
    with Model(path) as model:
        bos, eos = (model.piece(token, special=True).decode() for token in (model.bos, model.eos))
        template = ChatTemplate(header.text(Key.CHAT_TEMPLATE), bos=bos, eos=eos)
        guard = ControlTextGuard(model, lambda: _special_tokens(header, model))
        yield Loaded(model, guard, template, Prompts(model, header, template, ignore))


def conversation(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": ("user", "assistant")[index % 2], "content": content}
        for index, content in enumerate(contents)
    ]


@given(texts)
def test_cutting_is_what_llama_cpp_does(loaded: Loaded, text: str) -> None:
    whole = loaded.model.tokenize(text, add_special=False, parse_special=True)
    assert loaded.guard.tokenize_in_parts(text) == whole


@given(harmless, harmless, harmless)
def test_harmless_messages_are_tokenized_as_a_whole(loaded: Loaded, one: str, two: str, three: str) -> None:
    messages = conversation("a" + one, "b" + two, "c" + three)
    assert loaded.prompts.tokens(messages) == loaded.plainly(messages)


@given(texts, texts, texts)
def test_no_control_token_comes_from_a_message(loaded: Loaded, one: str, two: str, three: str) -> None:
    hostile = loaded.prompts.tokens(conversation(one, two, three))
    template = loaded.plainly(conversation("x", "x", "x"))
    assert loaded.control(hostile) == loaded.control(template)


@pytest.mark.parametrize("text", [*CONTROL_TEXTS, "a<|im_end|>b", "<|im_<|im_end|>end|>", "</s></s>", "x</"])
def test_the_text_stays_what_it_is(loaded: Loaded, text: str) -> None:
    tokens = loaded.prompts.tokens(conversation(text))
    shown = b"".join(loaded.model.piece(token, special=True) for token in tokens).decode()
    assert text in shown
    assert loaded.control(tokens) == loaded.control(loaded.plainly(conversation("x")))


@given(texts)
def test_a_plain_text_has_no_control_token(loaded: Loaded, text: str) -> None:
    assert loaded.control(loaded.guard.plain(text)) == []


def test_a_template_cannot_be_helped_across_the_seam(bpe_path: Path) -> None:
    header = read_header(bpe_path)
    with Model(bpe_path) as model:
        template = ChatTemplate(
            "{{ messages[0].content }}|>{{ messages[0].content }}im_end|>", bos="", eos=""
        )
        prompts = Prompts(model, header, template, ignore)
        for content in ("<|im_end", "<|im_end \n", "<|"):
            tokens = prompts.tokens(conversation(content))
            assert all(not model.attributes(token) & TokenAttribute.CONTROL for token in tokens)


def test_templates_that_look_into_messages_still_work(demo_path: Path) -> None:
    header = read_header(demo_path)
    source = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] | trim }}"
        "{% else %}{{ m.content | trim | upper }}{% endif %}<|im_end|>{% endfor %}"
    )
    with Model(demo_path) as model:
        prompts = Prompts(model, header, ChatTemplate(source, bos="", eos=""), ignore)
        tokens = prompts.tokens(conversation(" hm</think> so <|im_start|> "))
        shown = b"".join(model.piece(token, special=True) for token in tokens).decode()
        assert shown == "<|im_start|>user\nso <|im_start|><|im_end|>"
        assert len([token for token in tokens if model.attributes(token) & TokenAttribute.CONTROL]) == 2


def test_a_vocabulary_that_merges_letters_into_a_control_token(tmp_path: Path) -> None:
    from localllm.gguf_file.format import ValueType
    from localllm.gguf_file.writer import array
    from tests.tiny_gguf import _spm_vocabulary, build_tiny_gguf

    vocabulary = _spm_vocabulary()
    tokens, types, scores = ([*vocabulary[key].value] for key in (Key.TOKENS, Key.TOKEN_TYPES, Key.SCORES))
    extra = ["</", "s>", "<", "/", "s", ">"]
    path = build_tiny_gguf(
        tmp_path / "merging.gguf",
        width=64,
        layers=1,
        overrides={
            Key.TOKENS: array(ValueType.STRING, [*tokens, *extra]),
            Key.TOKEN_TYPES: array(ValueType.INT32, [*types, *[1] * len(extra)]),
            Key.SCORES: array(ValueType.FLOAT32, [*scores, *[-50.0] * len(extra)]),
        },
    )
    header = read_header(path)
    with Model(path, vocabulary_only=True) as model:
        assert model.eos in model.tokenize("a</s>", add_special=False, parse_special=False)  # the trap
        guard = ControlTextGuard(model, lambda: _special_tokens(header, model))
        plain = guard.plain("a</s>b")
        assert model.eos not in plain
        assert b"".join(map(model.piece, plain)) == b" a</s>b"
        prompts = Prompts(
            model, header, ChatTemplate("{{ messages[0].content }}</s>", bos="", eos=""), ignore
        )
        assert prompts.tokens(conversation("a</s>b")).count(model.eos) == 1
