"""Checks a conversion: the header, and the vocabulary in llama.cpp against the source tokenizer.

A few hundred lines of text must give the same tokens, and added tokens must be found in text; see
`source_tokenizer` for the few things that are left out of the comparison.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from localllm.checkpoint import Checkpoint
from localllm.conversion.pretokenizer_names import LACK_MARKS
from localllm.conversion.source_tokenizer import open_source
from localllm.conversion.tokenizer_files import read_tokenizer
from localllm.conversion.tokenizer_json import unreachable_tokens
from localllm.errors import TokenizerError
from localllm.gguf_file import read_header
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import require_loadable
from localllm.native.vocabulary import tokenize_with_file

_TOKENIZER_MODEL = "tokenizer.model"
_MARKS = "llama.cpp's `{}` cuts words at combining marks (Hindi, Thai …), which this tokenizer does not"
_MERGES = "{} lacks merges; llama.cpp makes their tokens all the same, as SentencePiece would"


def verify_header(path: Path, label: str) -> None:
    """Re-read the header of `path`. Raise InvalidGGUFError when llama.cpp could not load `label`."""
    require_loadable(read_header(path), label)


def verify_tokenization(path: Path, checkpoint: Checkpoint, source: str, *, whole: bool = False) -> list[str]:
    """Compare how llama.cpp tokenizes with `path` and how the checkpoint's own tokenizer `source` does.

    `source` is tokenizer.json, tokenizer.model or vocab.json. Return remarks about known shortcomings of
    llama.cpp that were met and let pass. Raise TokenizerError with the first text that differs otherwise,
    ModelLoadError when the vocabulary is refused or, with `whole`, the model.
    """
    plain, special, expected = _expected(checkpoint, source)
    found = tokenize_with_file(path, plain, special, whole=whole)
    rows = zip((*plain, *special), expected, (*found.plain, *found.special), strict=True)
    # an id beyond the vocabulary is that of a token that was left out
    different = [
        (text, ids) for text, wanted, ids in rows if wanted != ids and max(wanted, default=0) < found.size
    ]
    return _let_pass(different, path, checkpoint, source) if different else []


def _expected(checkpoint: Checkpoint, source: str) -> tuple[list[str], list[str], list[list[int]]]:
    """Return plain texts, texts with added tokens, and the ids of both.

    The tokenizer, hundreds of megabytes for a large vocabulary, is gone before llama.cpp loads its own.
    """
    own = open_source(checkpoint, source)
    expected = [*own.encode(own.plain_texts), *own.encode_special(own.special_texts)]
    return own.plain_texts, own.special_texts, expected


def _let_pass(
    different: list[tuple[str, list[int]]], path: Path, checkpoint: Checkpoint, source: str
) -> list[str]:
    """Return remarks when all differences are known ones. Raise TokenizerError for another."""
    pre = read_header(path).text(Key.TOKENIZER_PRE)
    lost = set() if source == _TOKENIZER_MODEL else unreachable_tokens(read_tokenizer(checkpoint, source))
    remarks: dict[str, None] = {}
    for text, ids in different:
        if pre in LACK_MARKS and any(unicodedata.category(character).startswith("M") for character in text):
            remarks[_MARKS.format(pre)] = None
        elif not lost.isdisjoint(ids):
            remarks[_MERGES.format(source)] = None
        else:
            raise TokenizerError(
                f"llama.cpp would tokenize {text[:24]!r}{'…' * (len(text) > 24)} differently from this "
                "model's tokenizer",
                hint=_hint(source),
            )
    return list(remarks)


def _hint(source: str) -> str:
    if source == _TOKENIZER_MODEL:
        return "llama.cpp runs SentencePiece models of type BPE only; is this one of another type?"
    return "name the pre-tokenizer with `--pre NAME` if you know it, or report this tokenizer"
