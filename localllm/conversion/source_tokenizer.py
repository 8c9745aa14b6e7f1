"""The tokenizer a checkpoint comes with, and the texts on which llama.cpp must agree with it.

What no vocabulary can tell llama.cpp (as of 0.3.36 of its binding) is left out of these texts:

- NFC normalization: the lines are in that form if the tokenizer puts them into it.
- A Metaspace step puts a space in front of a text unless there is one; llama.cpp always does, and also behind
  every added token: lines that begin with a space, and added tokens among other text.
- Added tokens that take spaces beside them (lstrip, rstrip) or want whole words are looked for alone.
- Added tokens that are special by their looks or by tokenizer_config.json alone: `tokenizers` finds them in
  any text.
- Added tokens that are looked for in normalized text, where that is not the text itself.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol

from localllm.checkpoint import Checkpoint
from localllm.conversion.sentencepiece_model import open_sentencepiece
from localllm.conversion.tokenizer_files import TOKENIZER_JSON, nested_steps, read_tokenizer
from localllm.conversion.tokenizer_samples import sample_lines
from localllm.conversion.tokens import ALWAYS_VISIBLE, COPY_AGAIN, looks_special, named_specials
from localllm.errors import TokenizerError

_LOOKED_FOR = 48  # that many added tokens are looked for in text, evenly chosen
_ALWAYS_PARSED = (
    *("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"),
    *ALWAYS_VISIBLE,
)  # by llama.cpp, whatever their type
_AMONG_TEXT = ("a{}b", "1{} \n")


class SourceTokenizer(Protocol):
    """Texts to compare, and what the tokenizer makes of them: `special` ones with added tokens parsed."""

    plain_texts: list[str]
    special_texts: list[str]

    def encode(self, texts: Sequence[str]) -> list[list[int]]: ...

    def encode_special(self, texts: Sequence[str]) -> list[list[int]]: ...


def open_source(checkpoint: Checkpoint, source: str) -> SourceTokenizer:
    """Open the tokenizer of a checkpoint file. Raise TokenizerError when its own library cannot."""
    if source == "tokenizer.model":
        return _SentencePiece(checkpoint)
    return _Tokenizers(checkpoint, source)


class _SentencePiece:
    """A tokenizer.model. It knows no added tokens, so those cannot be compared."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._pieces = open_sentencepiece(checkpoint)
        self.plain_texts = list(sample_lines())
        self.special_texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(self._pieces.encode(text)) for text in texts]

    def encode_special(self, texts: Sequence[str]) -> list[list[int]]:
        return self.encode(texts)


class _Tokenizers:
    """A tokenizer.json, or what vocab.json and merges.txt stand for, opened by the `tokenizers` package."""

    def __init__(self, checkpoint: Checkpoint, source: str) -> None:
        self._source = source
        self._tokenizer = _open_tokenizer(checkpoint, source)
        added = list(self._tokenizer.get_added_tokens_decoder().values())
        steps = {
            "normalizer": _state(self._tokenizer.normalizer),
            "pre_tokenizer": _state(self._tokenizer.pre_tokenizer),
        }
        named = set(named_specials(checkpoint.tokenizer_config))
        apart = [  # what is found in plain text otherwise than by llama.cpp
            token.content
            for token in added
            if not token.special
            and (looks_special(token.content) or token.content in named or not _is_free(token))
        ]
        self.plain_texts = [
            line for line in comparable_lines(steps) if not any(text in line for text in apart)
        ]
        self.plain_texts += [f"x{text}y" for text in _spelled_out(added)]
        literal = [token for token in added if not token.normalized or _keeps_text(steps)]
        self.special_texts = list(_added_token_texts(literal, among_text=not _has_metaspace(steps)))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode(texts, special_as_text=True)

    def encode_special(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode(texts, special_as_text=False)

    def _encode(self, texts: Sequence[str], *, special_as_text: bool) -> list[list[int]]:
        self._tokenizer.encode_special_tokens = special_as_text
        return encode_with(self._tokenizer, texts, self._source)


def _open_tokenizer(checkpoint: Checkpoint, source: str) -> Any:
    """Open a tokenizer.json where it lies: as a text it would be in memory several times over."""
    from tokenizers import Tokenizer

    path = checkpoint.file(source) if source == TOKENIZER_JSON else None
    if path is None:
        return load_tokenizer(json.dumps(read_tokenizer(checkpoint, source)), source)
    with _translated(source):
        return Tokenizer.from_file(str(path))


def load_tokenizer(text: str, label: str) -> Any:
    """Return the Tokenizer of a tokenizer.json. Raise TokenizerError when the `tokenizers` package cannot."""
    from tokenizers import Tokenizer

    with _translated(label):
        return Tokenizer.from_str(text)


def encode_with(tokenizer: Any, texts: Sequence[str], label: str) -> list[list[int]]:
    """Return the ids of `texts` without BOS and the like. Raise TokenizerError when the package cannot."""
    with _translated(label):
        return [item.ids for item in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


@contextmanager
def _translated(label: str) -> Iterator[None]:
    """Turn what the `tokenizers` package raises into a TokenizerError about `label`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # plain Exception; a panic of its Rust code is not even that
        reason = next(iter(str(error).splitlines()), "it does not say why")
        raise TokenizerError(
            f"the `tokenizers` package cannot use {label}: {reason[:160]}",
            hint=COPY_AGAIN,
        ) from None


def comparable_lines(content: Mapping[str, Any]) -> list[str]:
    """Return the sample lines on which llama.cpp can agree with a tokenizer.json."""
    lines = [line for line in sample_lines() if not (line.startswith(" ") and _has_metaspace(content))]
    return [unicodedata.normalize("NFC", line) for line in lines] if "NFC" in _normalizers(content) else lines


def _normalizers(content: Mapping[str, Any]) -> set[str]:
    return {str(step.get("type")) for step in nested_steps(content.get("normalizer"), "normalizers")}


def _keeps_text(content: Mapping[str, Any]) -> bool:
    return _normalizers(content) <= {"NFC"}


def _has_metaspace(content: Mapping[str, Any]) -> bool:
    steps = nested_steps(content.get("pre_tokenizer"), "pretokenizers")
    return any(step.get("type") == "Metaspace" for step in steps)


def _state(component: Any) -> Any:
    """Return a normalizer or pre-tokenizer object of the `tokenizers` package as tokenizer.json spells it."""
    return None if component is None else json.loads(component.__getstate__())


def _added_token_texts(added: Sequence[Any], *, among_text: bool) -> Iterator[str]:
    chosen = _chosen(added)
    free = [token.content for token in chosen if _is_free(token)]
    yield from (token.content for token in chosen)
    yield from (first + second for first, second in pairwise(free))
    if among_text:
        yield from (form.format(text) for text in free for form in _AMONG_TEXT)


def _spelled_out(added: Sequence[Any]) -> list[str]:
    """Return special tokens that must stay plain text where a user types them."""
    return [
        token.content for token in _chosen(added) if token.special and token.content not in _ALWAYS_PARSED
    ]


def _chosen(added: Sequence[Any]) -> Sequence[Any]:
    return added[:: max(1, len(added) // _LOOKED_FOR)]


def _is_free(token: Any) -> bool:
    """Tell whether an added token is found wherever its text is, and takes nothing with it."""
    return not (token.lstrip or token.rstrip or token.single_word)
