"""A model's vocabulary as GGUF stores it, built from the tokenizer files of a checkpoint.

The list always has exactly as many tokens as the embedding has rows. Missing ids become unused `[PADn]`
tokens. A token beyond the last row is an error, unless it was only added and nothing uses it: without a row
it cannot have been trained, so it is left out. Texts are unique, because llama.cpp aborts otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

from localllm.checkpoint import Checkpoint
from localllm.conversion.config import text_config
from localllm.conversion.pretokenizer_names import require_known
from localllm.conversion.sentencepiece_model import open_sentencepiece, sentencepiece_vocabulary
from localllm.conversion.special_tokens import chat_template_metadata
from localllm.conversion.tokenizer_files import tokenizer_source
from localllm.conversion.tokenizer_json import json_vocabulary
from localllm.conversion.tokens import TEXT_ENDS, Vocabulary, ends_of_text, no_row
from localllm.errors import TokenizerError
from localllm.events import Emit, ignore


def build_vocabulary(
    checkpoint: Checkpoint,
    rows: int,
    pre: str | None = None,
    emit: Emit = ignore,
    kind: str | None = None,
) -> Vocabulary:
    """Build the vocabulary for an embedding of `rows` rows.

    `pre` overrides the pre-tokenizer; `kind` is llama.cpp's kind of vocabulary where a family has one of its
    own (see `Family.vocabulary`), out of tokenizer.json. `Vocabulary.beyond` holds added tokens that were
    left out. Raise UsageError when llama.cpp knows no such `pre`, TokenizerError when there are no tokenizer
    files, they are damaged, a token in use has no row, or the pre-tokenizer is unknown; to find those that
    tokenize alike takes a few seconds, of which `emit` hears.
    """
    if pre is not None:
        require_known(pre)
    source = tokenizer_source(checkpoint)
    has_pieces = checkpoint.file("tokenizer.model") and not (kind and source)
    pieces = open_sentencepiece(checkpoint) if has_pieces else None
    if pieces is not None and (pieces.vocab_size() <= rows or source is None):
        vocabulary = sentencepiece_vocabulary(checkpoint, pieces, rows)
    elif source is not None:  # also when tokenizer.model belongs to a larger vocabulary
        vocabulary = json_vocabulary(checkpoint, source, rows, pre, emit, kind)
    else:
        raise TokenizerError(
            f"{checkpoint.directory} has neither tokenizer.json nor tokenizer.model",
            hint="name the base model with `--base DIRECTORY`, or copy its tokenizer files here",
        )
    _require_unused(vocabulary, checkpoint)
    vocabulary.rename_fillers()
    _require_bytes(vocabulary)
    _require_unique(vocabulary)
    vocabulary.ids = dict(zip(vocabulary.tokens, range(rows), strict=True))
    return vocabulary


def _require_unused(vocabulary: Vocabulary, checkpoint: Checkpoint) -> None:
    """Raise TokenizerError when an added token beyond the embedding is in use."""
    if not vocabulary.beyond:
        return
    templates = "".join(str(value.value) for value in chat_template_metadata(checkpoint).values())
    named = set(ends_of_text(checkpoint.tokenizer_config))  # a padding token, say, is never read or written
    ends = set(_named_ids(checkpoint))
    for index, text in sorted(vocabulary.beyond.items()):
        where = (
            "the chat template uses it"
            if text in templates
            else "the configuration names it"
            if text in named or index in ends
            else None
        )
        if where:
            raise TokenizerError(
                f"{no_row(text, index, len(vocabulary.tokens)).message}, and {where}",
                hint="the embedding was not resized for it; call `resize_token_embeddings` before training",
            )


def _named_ids(checkpoint: Checkpoint) -> Iterator[int]:
    """Yield the ids config.json and generation_config.json name as beginning or end."""
    for config in (checkpoint.config, text_config(checkpoint.config), checkpoint.generation_config):
        for kind in TEXT_ENDS:
            value = config.get(f"{kind}_token_id")
            yield from (item for item in (value if isinstance(value, list) else [value]) if type(item) is int)


def _require_bytes(vocabulary: Vocabulary) -> None:
    """A vocabulary with scores spells unknown text in byte tokens; without, llama.cpp aborts or drops it."""
    if vocabulary.scores is None:
        return
    known = set(vocabulary.tokens)
    for byte in range(256):
        if f"<0x{byte:02X}>" not in known and chr(byte) not in known:
            raise TokenizerError(
                f"{vocabulary.source} has no token for byte 0x{byte:02X}, which llama.cpp needs",
                hint="only SentencePiece models with byte fallback can be converted",
            )


def _require_unique(vocabulary: Vocabulary) -> None:
    tokens = vocabulary.tokens
    if len(set(tokens)) == len(tokens) and "\0" not in "".join(tokens):
        return
    seen: set[str] = set()
    for index, text in enumerate(tokens):
        read = text.partition("\0")[0] if "\0" in text else text  # as llama.cpp reads it
        if read in seen:
            raise TokenizerError(
                f"token {text[:40]!r} appears twice in the vocabulary (again at id {index})",
                hint="remove one of them from the tokenizer files and convert again",
            )
        if read:
            seen.add(read)
