"""Which tokens begin, end and pad a text, whether they are added, and the chat template.

Sources, first hit wins: tokenizer_config.json (by text, looked up in the vocabulary), config.json,
generation_config.json. Whether BOS and EOS are added: the post-processor of tokenizer.json, then
tokenizer_config.json. The chat template: chat_template.jinja, then tokenizer_config.json, then
chat_template.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from localllm.checkpoint import Checkpoint
from localllm.conversion.config import text_config
from localllm.conversion.pretokenizer_names import ADDS_BOS
from localllm.conversion.tokenizer_files import nested_steps
from localllm.conversion.tokens import TEXT_ENDS, Vocabulary, is_text, token_text
from localllm.errors import TokenizerError
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array, boolean, string, uint32

# GGUF spells "seperator" with an e
_ID_KEYS = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "sep": "seperator",
    "pad": "padding",
    "mask": "mask",
}


def special_token_metadata(
    checkpoint: Checkpoint, vocabulary: Vocabulary, *, adds_space: bool | None = None
) -> dict[str, TypedValue]:
    """Return the keys for special tokens and for what is added to every text.

    `adds_space` overrides what the vocabulary and the configuration say of a space in front.
    Raise TokenizerError when a special token is not in the vocabulary's range.
    """
    values: dict[str, TypedValue] = {}
    for kind, key in _ID_KEYS.items():
        index = _token_id(checkpoint, vocabulary, kind)
        if index is not None:
            values[f"tokenizer.ggml.{key}_token_id"] = uint32(index)
    added_by_default = {"bos": False} if vocabulary.pre in ADDS_BOS else {}  # or llama.cpp would add one
    for kind, added in {**added_by_default, **_added_automatically(checkpoint, vocabulary)}.items():
        values[f"tokenizer.ggml.add_{kind}_token"] = boolean(added)
    stated = checkpoint.tokenizer_config.get("add_prefix_space")
    if vocabulary.adds_bos:
        values["tokenizer.ggml.add_bos_token"] = boolean(True)
    prefix = next((value for value in (adds_space, vocabulary.adds_space, stated) if value is not None), None)
    if isinstance(prefix, bool):
        values["tokenizer.ggml.add_space_prefix"] = boolean(prefix)
    return values


def demanded_token_metadata(vocabulary: Vocabulary, texts: Mapping[str, str]) -> dict[str, TypedValue]:
    """Return the ids of the special tokens `texts`, by GGUF's name, as far as the vocabulary has them."""
    return {
        f"tokenizer.ggml.{name}_token_id": uint32(vocabulary.ids[text])
        for name, text in texts.items()
        if text in vocabulary.ids
    }


def chat_template_metadata(checkpoint: Checkpoint) -> dict[str, TypedValue]:
    """Return the chat template keys; empty when the checkpoint has no template."""
    templates = dict(_templates(checkpoint))
    if not templates:
        return {}
    default = templates.pop("default", None)
    values: dict[str, TypedValue] = {}
    names = sorted(re.sub(r"[^A-Za-z0-9]", "_", name) for name in templates)
    if names:
        values["tokenizer.chat_templates"] = array(ValueType.STRING, names)
    for name, template in sorted(templates.items()):
        values[f"tokenizer.chat_template.{re.sub(r'[^A-Za-z0-9]', '_', name)}"] = string(template)
    if default is not None:
        values[str(Key.CHAT_TEMPLATE)] = string(default)
    return values


def _token_id(checkpoint: Checkpoint, vocabulary: Vocabulary, kind: str) -> int | None:
    text = token_text(checkpoint.tokenizer_config.get(f"{kind}_token"))
    if text is not None and text in vocabulary.ids:
        return vocabulary.ids[text]
    configs = (checkpoint.config, text_config(checkpoint.config), checkpoint.generation_config)
    for config in configs:
        index = config.get(f"{kind}_token_id")
        if isinstance(index, bool) or not isinstance(index, int) or index == -1:
            continue
        if not 0 <= index < len(vocabulary.tokens):
            if kind not in TEXT_ENDS:
                return None  # added for training and left out: nothing is padded in a chat
            raise TokenizerError(
                f"config.json says {kind}_token_id is {index}, but there are {len(vocabulary.tokens)} tokens",
                hint="correct it in config.json, or take the base model's",
            )
        return index
    return None


def _added_automatically(checkpoint: Checkpoint, vocabulary: Vocabulary) -> dict[str, bool]:
    """Tell which of bos, eos and sep the tokenizer puts around every text."""
    added: dict[str, bool] = {}
    for step in nested_steps(vocabulary.post_processor, "processors"):
        _read_post_processor(step, checkpoint.tokenizer_config, added)
    for kind in _ID_KEYS:
        value = checkpoint.tokenizer_config.get(f"add_{kind}_token")
        if isinstance(value, bool):
            added.setdefault(kind, value)
    return added


def _read_post_processor(step: Mapping[str, Any], config: Mapping[str, Any], added: dict[str, bool]) -> None:
    kind = step.get("type")
    if kind == "ByteLevel":
        added.setdefault("bos", False)
        added.setdefault("eos", False)
    elif kind == "RobertaProcessing":
        added.update(bos=True, eos=True, sep=True)
    elif kind == "TemplateProcessing":
        single = step.get("single")
        if isinstance(single, list) and len(single) > 1:
            _read_template_end(single[0], token_text(config.get("bos_token")), "bos", added)
            _read_template_end(single[-1], token_text(config.get("eos_token")), "eos", added)


def _read_template_end(item: Any, expected: str | None, kind: str, added: dict[str, bool]) -> None:
    token = item.get("SpecialToken") if isinstance(item, Mapping) else None
    special = token.get("id") if isinstance(token, Mapping) else None
    if special is not None:
        added[kind] = expected is None or special == expected


def _templates(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """Yield (name, template), the default one named "default"."""
    standalone = checkpoint.text("chat_template.jinja")
    if standalone is not None:
        yield "default", standalone
        for path in sorted((checkpoint.directory / "additional_chat_templates").glob("*.jinja")):
            yield path.stem, path.read_text(encoding="utf-8", errors="replace")
        return
    found = checkpoint.tokenizer_config.get("chat_template")
    if found is None:
        content = checkpoint.json("chat_template.json")
        found = content.get("chat_template") if isinstance(content, Mapping) else None
    if isinstance(found, str):
        yield "default", found
    elif isinstance(found, list):
        for entry in found:
            if not isinstance(entry, Mapping) or not is_text(entry.get("template")):
                raise TokenizerError(
                    "the chat templates of the checkpoint are not a list of names and templates",
                    hint="copy the base model's tokenizer_config.json, or save the tokenizer again",
                )
            yield str(entry.get("name")), str(entry["template"])
