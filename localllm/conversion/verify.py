"""Checks a finished conversion: the header, and the vocabulary in llama.cpp against the source tokenizer."""

from __future__ import annotations

from pathlib import Path

from localllm.checkpoint import Checkpoint
from localllm.conversion.sentencepiece_model import open_sentencepiece
from localllm.errors import TokenizerError
from localllm.gguf_file import read_header
from localllm.gguf_file.preflight import require_loadable
from localllm.native.vocabulary import tokenize_with_file

# Written to tell pre-tokenizers apart: contractions, digits, spaces, scripts, emoji, code, punctuation.
SAMPLES = (
    "Hello world! It's a test; they'RE here, we'Ve gone, I'D say.",
    "1 22 333 4444 55555 3.14159 1,000,000 2026-10-01 0x1F",
    "tabs\tand  double   spaces    and trailing   ",
    "line one\nline two\n\nline four\r\nwindows\n\n\n",
    "def f(x):\n    return x ** 2  # square\n\tif x != 3: pass",
    "Ünïcödé naïve façade Straße ÅÄÖ",
    "Привет, как дела? Ещё раз.",
    "你好，世界。今天天气很好！",
    "こんにちは世界、テスト中です",
    "안녕하세요 세계",
    "مرحبا بالعالم",
    "emoji 🚀 👩‍👩‍👧 🦙🦙 ✅ done",
    "!!! ??? ... --- === /// ''' \"\"\" ``` ###",
    'https://example.org/a?b=c&d=e#f {"key": [1, 2, null]}',
    "ALLCAPS CamelCase snake_case kebab-case x86_64 v2.0-rc1",
    " leading space and 'quotes' (brackets) [more] {curly}",
)
_HINTS = {
    "tokenizer.json": "name the pre-tokenizer with `--pre NAME` if you know it, or report this tokenizer",
    "tokenizer.model": "llama.cpp runs SentencePiece models of type BPE only; is this one of another type?",
}


def verify_header(path: Path, label: str) -> None:
    """Re-read the header of `path`. Raise InvalidGGUFError when llama.cpp could not load `label`."""
    require_loadable(read_header(path), label)


def verify_tokenization(path: Path, checkpoint: Checkpoint, source: str) -> None:
    """Compare how llama.cpp tokenizes with `path` and how the checkpoint's own tokenizer `source` does.

    Raise TokenizerError with the first text that differs, ModelLoadError when the vocabulary is refused.
    """
    samples = _comparable(checkpoint, source)
    expected = _source_tokens(checkpoint, source, samples)
    actual = tokenize_with_file(path, samples)
    for text, wanted, got in zip(samples, expected, actual, strict=True):
        if wanted != got:
            raise TokenizerError(
                f"llama.cpp would tokenize {text[:24]!r}… differently from this model's tokenizer",
                hint=_HINTS[source],
            )


def _comparable(checkpoint: Checkpoint, source: str) -> list[str]:
    """Return the samples, without those a Metaspace step treats otherwise than any llama.cpp vocabulary.

    It puts a space in front of a text unless there is one; SentencePiece and llama.cpp always do.
    """
    content = checkpoint.json(source) if source == "tokenizer.json" else {}
    has_metaspace = "Metaspace" in str(content.get("pre_tokenizer"))
    return [text for text in SAMPLES if not (has_metaspace and text.startswith(" "))]


def _source_tokens(checkpoint: Checkpoint, source: str, samples: list[str]) -> list[list[int]]:
    if source == "tokenizer.model":
        pieces = open_sentencepiece(checkpoint)
        return [list(pieces.encode(text)) for text in samples]
    from tokenizers import Tokenizer

    path = checkpoint.file(source) or checkpoint.directory / source
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the tokenizers package raises plain Exception
        raise TokenizerError(f"{path} cannot be read: {error}") from None
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in samples]
