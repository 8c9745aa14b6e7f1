"""What a user should know before relying on a model file: each check is a line of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import DEFAULT_ALIGNMENT, Key
from localllm.inspection.misfits import misfits_of
from localllm.inspection.problem import Problem
from localllm.inspection.template import Template, unclosed
from localllm.inspection.vocabulary import ENDS, Vocabulary

QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
_TOKEN_EMBEDDING = "token_embd.weight"


def model_problems(
    header: GGUFHeader,
    vocabulary: Vocabulary | None,
    template: Template | None,
    knows_architecture: Callable[[str], bool | None],
) -> Iterator[Problem]:
    """Yield what is odd about a model; `knows_architecture` tells whether the installed llama.cpp does."""
    yield from _architecture(header, knows_architecture)
    yield from _context(header)
    yield from _template(header, template)
    yield from _tokens(header, vocabulary)
    yield from _misfits(header)
    yield from _format(header)
    yield from _texts(header)


def _architecture(header: GGUFHeader, knows: Callable[[str], bool | None]) -> Iterator[Problem]:
    name = header.architecture
    if not name:
        yield Problem("architecture", "it does not say which architecture it is (`general.architecture`)")
    elif knows(name) is False:
        yield Problem(
            "architecture",
            f"the installed llama.cpp does not know the architecture `{name}`",
            "a newer llama-cpp-python may",
        )


def _context(header: GGUFHeader) -> Iterator[Problem]:
    context = header.architecture_integer("context_length")
    if context is not None and context < 1:
        yield Problem("context", f"it claims a context of {context} tokens, which llama.cpp refuses")


def _template(header: GGUFHeader, template: Template | None) -> Iterator[Problem]:
    if not header.tensors:
        return
    if template is None:
        yield Problem(
            "chat-template",
            "no chat template: chat runs as plain completion",
            "convert the checkpoint again with its chat_template.jinja, or its base model's",
        )
        return
    broken = unclosed(template.source)
    if broken:
        yield Problem(
            "chat-template", f"the chat template is broken: {broken}", "`--template` shows it whole"
        )


def _tokens(header: GGUFHeader, vocabulary: Vocabulary | None) -> Iterator[Problem]:
    if vocabulary is None:
        if header.tensors:
            yield Problem("vocabulary", "no vocabulary: llama.cpp can neither read nor write text with it")
        return
    for token in vocabulary.special:
        if token.text is None and not token.is_default:
            yield Problem(
                "special-token",
                f"its {token.role} token {token.id} is outside the vocabulary of {vocabulary.size}",
            )
    yield from _ends(vocabulary)
    rows = next((t.shape[1] for t in header.tensors if t.name == _TOKEN_EMBEDDING and len(t.shape) > 1), None)
    if rows is not None and rows != vocabulary.size:
        yield Problem(
            "vocabulary-size",
            f"the vocabulary has {vocabulary.size} tokens, the embedding {rows} rows: llama.cpp refuses it",
        )


def _ends(vocabulary: Vocabulary) -> Iterator[Problem]:
    eos = vocabulary.token("eos")
    if not vocabulary.ends:
        yield Problem("end-of-sequence", "no token ends an answer, so answers may not end")
    elif eos is None or eos.is_default:
        known = ", ".join(f"`{text}`" for text in vocabulary.ends)
        yield Problem("end-of-sequence", f"no end-of-sequence token is named; answers end with {known}")
    elif eos.text is not None and eos.text not in ENDS:
        yield Problem(
            "end-of-sequence",
            f"its end-of-sequence token `{eos.text}` is not a usual one",
            "if answers do not end in chat, correct eos_token in tokenizer_config.json and convert again",
        )


def _misfits(header: GGUFHeader) -> Iterator[Problem]:
    misfits = misfits_of(header)
    count = sum(misfit.tensors for misfit in misfits)
    if count:
        rows = ", ".join(map(str, sorted({misfit.row for misfit in misfits})))
        subject = "1 tensor does" if count == 1 else f"{count} tensors do"
        stored = "is" if count == 1 else "are"
        yield Problem(
            "fallback",
            f"{subject} not fit the level's block and {stored} stored in another type (rows of {rows})",
        )


def _format(header: GGUFHeader) -> Iterator[Problem]:
    if header.alignment != DEFAULT_ALIGNMENT:
        yield Problem("alignment", f"its tensors are aligned to {header.alignment} bytes instead of 32")
    version = header.integer(Key.QUANTIZATION_VERSION)
    is_quantized = any(tensor.type.block_size > 1 for tensor in header.tensors)
    if is_quantized and version is not None and version != QUANTIZATION_VERSION:
        yield Problem(
            "quantization-version",
            f"its quantization version is {version} instead of {QUANTIZATION_VERSION}",
            "llama.cpp may read its weights wrongly; fetch or make a current file",
        )


def _texts(header: GGUFHeader) -> Iterator[Problem]:
    for key, value in header.encoded.items():
        try:
            bytes(value.raw_text or b"").decode()
        except UnicodeDecodeError:
            yield Problem("metadata", f"metadata `{key}` is not valid UTF-8")
