"""Where an answer ends: by the chat template, by config.json, by generation_config.json.

Fine-tunes often disagree with themselves here, and then talk without end: the template closes answers with
one token while the end-of-sequence token is another. llama.cpp stops at both when the file names both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localllm.chat_template import ChatTemplate
from localllm.checkpoint import Checkpoint
from localllm.conversion.config import text_config
from localllm.conversion.tokens import TokenType, Vocabulary
from localllm.errors import GenerationError
from localllm.events import Emit, Notice
from localllm.gguf_file.writer import Metadata, TypedValue, uint32

_EOS, _BOS, _EOT = (f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "bos", "eot"))
_ANSWER = "Answer7c0e"  # stands for what the assistant says
_CONVERSATION = ({"role": "user", "content": "Question"}, {"role": "assistant", "content": _ANSWER})


def turn_end_metadata(
    checkpoint: Checkpoint, vocabulary: Vocabulary, special: Metadata, template: str | None, emit: Emit
) -> dict[str, TypedValue]:
    """Return the end-of-turn token where the template's is not the end-of-sequence token of `special`.

    Disagreements, a missing end and a template that is broken are told.
    """
    eos = _token(special, _EOS)
    if eos is None:
        emit(
            Notice(
                "no end-of-sequence token is named anywhere, so answers may not end",
                hint="name it in tokenizer_config.json: eos_token",
                topic="end-of-sequence",
            )
        )
    _compare_generation_config(checkpoint, vocabulary, eos, emit)
    if template is None:
        return {}
    end = _answer_end(template, vocabulary, special, emit)
    if end is None or end == eos:
        return {}
    stops = "nothing" if eos is None else f"`{vocabulary.tokens[eos]}`"
    emit(
        Notice(
            f"the chat template ends answers with `{vocabulary.tokens[end]}`, the end-of-sequence token is "
            f"{stops}: both are written",
            topic="end-of-sequence",
            fixed=True,
        )
    )
    return {_EOT: uint32(end)}


def _compare_generation_config(
    checkpoint: Checkpoint, vocabulary: Vocabulary, eos: int | None, emit: Emit
) -> None:
    """Tell when generation_config.json (what transformers stops at) or config.json leaves `eos` out."""
    if eos is None:
        return
    configs = {
        "generation_config.json": checkpoint.generation_config,
        "config.json": {**checkpoint.config, **text_config(checkpoint.config)},
    }
    for name, config in configs.items():
        given = list(_ids(config.get("eos_token_id"), len(vocabulary.tokens)))
        if given and eos not in given:
            ends = ", ".join(f"`{vocabulary.tokens[index]}`" for index in given)
            emit(
                Notice(
                    f"{name} ends texts with {ends}, the tokenizer with `{vocabulary.tokens[eos]}`, "
                    "which is taken",
                    hint="if answers do not end in chat, correct eos_token in tokenizer_config.json",
                    topic="end-of-sequence",
                )
            )


def _answer_end(template: str, vocabulary: Vocabulary, special: Metadata, emit: Emit) -> int | None:
    """Return the id of the control token that follows an answer first; None when there is none."""
    texts = {
        key: vocabulary.tokens[index] for key in (_BOS, _EOS) if (index := _token(special, key)) is not None
    }
    try:
        compiled = ChatTemplate(template, bos=texts.get(_BOS, ""), eos=texts.get(_EOS, ""))
    except GenerationError as error:
        emit(
            Notice(
                error.message,
                hint="take chat_template.jinja from the base model; chat needs a template that works",
                topic="chat-template",
            )
        )
        return None
    try:
        behind = compiled.render(_CONVERSATION, open_turn=False).rpartition(_ANSWER)[2]
    except GenerationError:
        return None  # it wants other conversations than this one
    controls = ((index, vocabulary.tokens[index]) for index in vocabulary.of_type(TokenType.CONTROL))
    places = ((place, -len(text), index) for index, text in controls if (place := behind.find(text)) >= 0)
    return min(places, default=(0, 0, None))[2]


def _token(special: Metadata, key: str) -> int | None:
    value = special.get(key)
    return None if value is None else int(value.value)


def _ids(value: Any, count: int) -> Iterator[int]:
    for index in value if isinstance(value, list) else (value,):
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count:
            yield index
