"""Damaged and hostile tokenizer files end in an error of one line, whatever is wrong with them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.checkpoint import open_checkpoint
from localllm.conversion.prepare import Wishes, prepare_texts
from localllm.conversion.source_tokenizer import open_source
from localllm.conversion.vocabulary import build_vocabulary
from localllm.errors import LocalLLMError, TokenizerError
from localllm.events import ignore
from localllm.gguf_file.writer import encode_header
from tests.conversion.tiny_llama import ROWS, edit_json, write_tiny_llama
from tests.conversion.tiny_tokenizer import tiny_tokenizer

ODD = st.sampled_from(
    [
        *(None, True, -1, 0, 5, 2**31, 2**70, 1.5, 1e308, "", "x", "a b", "\ud800", "\0", "Sequence", "BPE"),
        *([], [[]], {}, {"type": "x"}, [None], ["a", "b"], {"a": {"a": {}}}, [{"id": 3, "content": "x"}]),
    ]
)
Path_ = tuple[str | int, ...]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = write_tiny_llama(tmp_path_factory.mktemp("hostile") / "tiny")
    (directory / "chat_template.jinja").unlink()  # the one in tokenizer_config.json counts
    return directory


def places(node: Any, here: Path_ = ()) -> Iterator[Path_]:
    """Yield the way to every node; of long lists and objects, to the first few."""
    items: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items)[:12]:
        yield (*here, key)
        yield from places(value, (*here, key))


TOKENIZER = {
    **tiny_tokenizer(adds_bos=True),
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
}
CONFIG: dict[str, Any] = {
    "tokenizer_class": "GPT2Tokenizer",
    "added_tokens_decoder": {"280": {"content": "<x>", "special": True}},
    "additional_special_tokens": ["<x>"],
    "extra_special_tokens": {"image": "<x>"},
    "eos_token": {"content": "<|im_end|>"},
    "add_bos_token": True,
    "add_prefix_space": False,
    "chat_template": [{"name": "default", "template": "{{ messages }}"}, {"name": "x", "template": "y"}],
}


def mutated(content: dict[str, Any], changes: list[tuple[Path_, Any, bool]]) -> dict[str, Any]:
    result = copy.deepcopy(content)
    for place, value, drop in changes:
        node: Any = result
        try:
            for key in place[:-1]:
                node = node[key]
            if drop:
                del node[place[-1]]
            else:
                node[place[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return result


def changes_of(content: dict[str, Any]) -> st.SearchStrategy[list[tuple[Path_, Any, bool]]]:
    change = st.tuples(st.sampled_from(list(places(content))), ODD, st.booleans())
    return st.lists(change, min_size=1, max_size=3)


@given(changes_of(TOKENIZER), changes_of(CONFIG), st.booleans())
def test_only_our_own_errors_come_out(
    tiny: Path, of_tokenizer: list[Any], of_config: list[Any], old: bool
) -> None:
    content = mutated(TOKENIZER, of_tokenizer)
    (tiny / "tokenizer.json").unlink(missing_ok=True)
    files: dict[str, Any] = {"tokenizer.json": content}
    if old:
        model = content.get("model")
        files = {
            "vocab.json": model.get("vocab") if isinstance(model, dict) else model,
            "merges.txt": content,
        }
    for name, value in {**files, "tokenizer_config.json": mutated(CONFIG, of_config)}.items():
        (tiny / name).write_text(json.dumps(value))
    unknown = patch(
        "localllm.conversion.tokenizer_json.unknown_pretokenizer",
        lambda *_: TokenizerError("unknown", hint="x"),
    )
    message, tokens = "", []
    try:
        with unknown:  # candidates are tried in a child process: too slow for here
            texts = prepare_texts(open_checkpoint(tiny), None, ROWS, Wishes(), ignore)
            encode_header(texts.metadata, [])
            vocabulary = texts.vocabulary
            tokens = vocabulary.tokens
            own = open_source(open_checkpoint(tiny), vocabulary.source)
            own.encode(own.plain_texts[:20])
            own.encode_special(own.special_texts[:20])
    except LocalLLMError as error:
        message = error.message
    assert "\n" not in message
    assert message or len(tokens) == len(set(tokens)) == ROWS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"vocab": {"a": 0, "b": 0}, "merges": ["a b"]}}, "two tokens have the same id"),
        ({"model": {"vocab": {"a": 2**70}, "merges": ["a b"]}}, "has id 1180591620717411303424"),
        ({"model": {"vocab": {"a": -1}, "merges": ["a b"]}}, "has id -1"),
        ({"model": {"vocab": {"a": True}, "merges": ["a b"]}}, "an id is not an integer"),
        ({"model": {"vocab": [["a", 0]], "merges": ["a b"]}}, "its vocabulary is not an object"),
        ({"model": {"vocab": {"\ud800": 0}, "merges": ["a b"]}}, "not valid Unicode"),
        ({"model": {"vocab": {"a": 0}, "merges": ["ab"]}}, "a merge is not a pair"),
        ({"model": {"vocab": {"a": 0}, "merges": [["a", "b", "c"]]}}, "a merge is not a pair"),
        ({"model": {"vocab": {"a": 0}, "merges": {"a": "b"}}}, "a merge is not a pair"),
        ({"added_tokens": {"0": "a"}}, "its added tokens are not a list"),
        ({"added_tokens": [{"id": "3", "content": "x"}]}, "a malformed added token"),
        ({"added_tokens": [{"id": 3}]}, "a malformed added token"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny")
    edit_json(directory / "tokenizer.json", **change)
    with pytest.raises(TokenizerError, match=message) as caught:
        build_vocabulary(open_checkpoint(directory), ROWS)
    assert caught.value.hint
    assert len(caught.value.message) < 200


def test_a_bottomless_file_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny")
    (directory / "tokenizer.json").write_text('{"model": ' + "[" * 100_000)
    with pytest.raises(LocalLLMError, match="is not valid JSON"):
        build_vocabulary(open_checkpoint(directory), ROWS)
