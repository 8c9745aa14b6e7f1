"""Tries all pre-tokenizers llama.cpp knows on a tokenizer whose own is not recognised.

Only what the samples can touch matters: every token that tokenizing a text can produce is a piece of it.
So the vocabulary and the merges are cut down to the pieces of the samples, which changes no result and
makes a file of a hundred kilobytes out of one of many megabytes: all names are tried in a few seconds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from localllm.conversion.byte_level import byte_level_vocabulary
from localllm.conversion.pretokenizer_names import ALIKE, IGNORE_MERGES, with_architecture
from localllm.conversion.pretokenizers import describe_steps
from localllm.conversion.source_tokenizer import comparable_lines, encode_with, load_tokenizer
from localllm.conversion.tokens import added_token
from localllm.errors import TokenizerError
from localllm.events import Advanced, Emit, Finished, Started, ignore
from localllm.gguf_file import GGUFWriter
from localllm.native.vocabulary import agreements

STEP = "pre-tokenizer"
_SHOWN = 4
_LONGEST_PIECE = 24  # longer pieces are looked for one by one


def unknown_pretokenizer(content: Mapping[str, Any], source: str, emit: Emit = ignore) -> TokenizerError:
    """Return the error for a pre-tokenizer that is not recognised: it names those that tokenize alike.

    `content` has been checked by `tokenizer_files`.
    """
    unknown = f"the pre-tokenizer of {source} is not known (steps: {describe_steps(content)})"
    texts, agreed = agreement_by_name(content, emit)
    ignores = bool(content["model"].get("ignore_merges"))
    alike = sorted(
        (names for names in ALIKE if agreed.get(names[0]) == len(texts)),
        key=lambda names: (names[0] in IGNORE_MERGES) != ignores,
    )
    if alike:
        return TokenizerError(
            f"{unknown}; llama.cpp's {_listed(alike)} tokenize{'s' * (len(alike) == 1 == len(alike[0]))} "
            f"{len(texts)} samples alike",
            hint=f"to convert with the best known of them: `--pre {alike[0][0]}`",
        )
    nearest = max(agreed, key=agreed.__getitem__, default=None)
    closest = f"; the nearest is {nearest}, with {agreed[nearest]} of {len(texts)} samples" if nearest else ""
    return TokenizerError(
        f"{unknown}, and none of llama.cpp's tokenizes alike{closest}",
        hint="report this tokenizer; `--pre NAME` converts with another one all the same",
    )


def agreement_by_name(content: Mapping[str, Any], emit: Emit = ignore) -> tuple[list[str], dict[str, int]]:
    """Return sample texts, and how many of them each name tokenizes as the tokenizer does.

    Of names that split alike one is tried, the best known. Names llama.cpp refuses or dies of are left out.
    """
    texts = comparable_lines(content)
    reduced = reduce_to(content, texts)
    tokenizer = load_tokenizer(json.dumps(reduced), "the tokenizer")
    tokenizer.encode_special_tokens = True
    expected = encode_with(tokenizer, texts, "the tokenizer")
    names = [alike[0] for alike in ALIKE]
    emit(Started(STEP, len(names)))
    with tempfile.TemporaryDirectory(prefix="localllm-") as directory:
        paths = list(_write_all(reduced, names, Path(directory)))
        counts = agreements(paths, texts, expected, lambda done: emit(Advanced(STEP, done, names[done - 1])))
    emit(Finished(STEP))
    return texts, {name: count for name, count in zip(names, counts, strict=True) if count is not None}


def _listed(alike: Sequence[Sequence[str]]) -> str:
    """List the best known name of every group, then others, but not too many."""
    names = [*(group[0] for group in alike), *(name for group in alike for name in group[1:])]
    more = len(names) - _SHOWN
    return f"{', '.join(names[:_SHOWN])} and {more} more" if more > 0 else " and ".join(names)


def reduce_to(content: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Return a byte-level tokenizer.json that tokenizes `texts` alike, with as few tokens as possible.

    Ids are counted anew; added tokens are kept where a text contains them.
    """
    model = content["model"]
    pieces = _Pieces(texts)
    added = [
        entry for entry in content.get("added_tokens") or () if any(entry["content"] in t for t in texts)
    ]
    kept = [text for text in model["vocab"] if len(text) == 1 or text in pieces]
    ids = {text: index for index, text in enumerate(dict.fromkeys([*kept, *(e["content"] for e in added)]))}
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return {
        **content,
        "added_tokens": [{**entry, "id": ids[entry["content"]]} for entry in added],
        "post_processor": None,
        "model": {
            **model,
            "vocab": {text: ids[text] for text in kept},
            "merges": [pair for pair in merges if pair[0] + pair[1] in ids and set(pair) <= ids.keys()],
            "unk_token": None,
        },
    }


class _Pieces:
    """The texts in GPT-2's alphabet; `in` tells whether a token is a piece of one of them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._lines = [_byte_alphabet(text) for text in (*texts, *(f" {text}" for text in texts))]
        self._short = {
            line[start : start + length]
            for line in set(self._lines)
            for start in range(len(line))
            for length in range(2, _LONGEST_PIECE + 1)
        }

    def __contains__(self, token: str) -> bool:
        if len(token) <= _LONGEST_PIECE:
            return token in self._short
        return any(token in line for line in self._lines)


def _byte_alphabet(text: str) -> str:
    """Write the bytes of `text` as GPT-2 does: printable characters stand for themselves."""
    return text.encode().decode("latin-1").translate(_ALPHABET)


def _alphabet() -> dict[int, int]:
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = [byte for byte in range(256) if byte not in plain]
    return {byte: 256 + place for place, byte in enumerate(moved)}


_ALPHABET = _alphabet()


def _write_all(reduced: Mapping[str, Any], names: Sequence[str], directory: Path) -> Iterator[Path]:
    size = 1 + max(
        (*reduced["model"]["vocab"].values(), *(e["id"] for e in reduced["added_tokens"])), default=0
    )
    for name in names:
        vocabulary = byte_level_vocabulary(reduced, "tokenizer.json", name, size)
        for entry in reduced["added_tokens"]:
            text, kind = added_token(entry)
            vocabulary.add(entry["id"], text, kind)
        path = directory / f"{name}.gguf"
        with path.open("wb") as file:
            GGUFWriter(file, with_architecture(vocabulary.metadata()), ()).finish()
        yield path
