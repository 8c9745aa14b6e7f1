"""llama.cpp's names of pre-tokenizers, and what they decide besides how text is split.

The names are those llama_vocab::impl::load accepts (src/llama-vocab.cpp of llama.cpp as vendored by
llama-cpp-python 0.3.36). A later llama.cpp may know more: a name that is not listed is tried before
it is refused.
"""

from __future__ import annotations

import difflib

from localllm.conversion.vocabulary_file import vocabulary_file
from localllm.errors import UsageError
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import Metadata, array, string
from localllm.native.vocabulary import agreements

# A line holds the names that split text and merge alike, the best known first; the lines, too.
ALIKE: tuple[tuple[str, ...], ...] = (
    (
        *("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        *("jina-v5-nano", "glm4", "glm5"),
    ),
    (
        *("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "grok-2", "kormo", "f2llmv2"),
        "solar-open",
    ),
    (
        *("gpt-2", "olmo", "phi-2", "mpt", "modern-bert", "exaone4", "jais", "trillion", "mellum"),
        *("granite-docling", "gigachat", "a.x-4.0", "roberta-bpe", "jina-es", "jina-de", "jina-v1-en"),
        *("jina-v2-es", "jina-v2-de", "jina-v2-code"),
    ),
    ("tekken",),
    ("gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"),
    ("qwen35",),
    ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
    ("dbrx", "smaug-bpe", "chatglm-bpe"),
    ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"),
    ("deepseek-llm",),
    ("deepseek-coder",),
    ("falcon",),
    ("bloom", "poro-chat", "gpt3-finnish"),
    ("gemma4", "granite-embed-multi-311m"),
    ("kimi-k2",),
    ("bailingmoe", "bailingmoe2", "llada-moe"),
    ("tiny_aya", "cohere2moe"),
    ("exaone-moe",),
    ("seed-coder",),
    ("viking",),
    ("jais-2",),
    ("superbpe",),
    ("afmoe",),
    ("minicpm5",),
    ("chameleon",),
    ("spark2_5",),
    ("youtu",),
    ("laguna",),
    ("ufakzeka",),
    ("sarvam-moe",),
    ("granite-embed-multi-97m",),
    ("whitespace",),
    ("default",),
)
PRETOKENIZER_NAMES = tuple(name for names in ALIKE for name in names)

# with these llama.cpp takes a word that is in the vocabulary without merging
IGNORE_MERGES = (*ALIKE[0], "tekken", "minicpm5", "youtu", "granite-embed-multi-97m")

# the expressions llama.cpp has for these lack combining marks: it cuts words of Hindi, Bengali or Thai there,
# and does not cut where lower case meets upper case outside ASCII
LACK_MARKS = ("tekken", "gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie")

# with these llama.cpp puts BOS in front of every text unless the file says otherwise
ADDS_BOS = (
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    *("jina-v5-nano", "tekken", "chameleon"),
)


def require_known(name: str) -> None:
    """Raise UsageError with the nearest names when llama.cpp knows no pre-tokenizer `name`."""
    if name in PRETOKENIZER_NAMES or (name.isprintable() and name and _is_accepted(name)):
        return
    near = difflib.get_close_matches(name, PRETOKENIZER_NAMES, n=3, cutoff=0.5)
    meant = " or ".join(f"`--pre {other}`" for other in near)
    raise UsageError(
        f"llama.cpp knows no pre-tokenizer {name!r}",
        hint=f"did you mean {meant}?"
        if near
        else f"it knows {', '.join(PRETOKENIZER_NAMES[:6])} and {len(PRETOKENIZER_NAMES) - 6} more",
    )


def with_architecture(metadata: Metadata) -> Metadata:
    """Complete the metadata of a file that holds a vocabulary alone."""
    return {str(Key.ARCHITECTURE): string("llama"), **metadata}


def _is_accepted(name: str) -> bool:
    """Tell whether the installed llama.cpp loads a vocabulary with this name."""
    metadata = {
        str(Key.TOKENIZER_MODEL): string("gpt2"),
        str(Key.TOKENIZER_PRE): string(name),
        str(Key.TOKENS): array(ValueType.STRING, ["a", "b", "ab"]),
        str(Key.MERGES): array(ValueType.STRING, ["a b"]),
    }
    with vocabulary_file(with_architecture(metadata)) as path:
        return agreements([path], [], [])[0] is not None
