"""Templates by name make the prompts that their formats describe; files work as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.chat_template import ChatTemplate
from localllm.chat_template.named import TEMPLATES, find_template
from localllm.errors import GenerationError, NotFoundError, UsageError

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Why?"},
]
SYSTEM = {"role": "system", "content": "Be brief"}
PROMPTS = {
    "chatml": "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
    "llama-2": "<s>[INST] <<SYS>>\nBe brief\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Why? [/INST]",
    "llama-3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Hi [/INST] Hello</s>[INST] Why? [/INST]",
    "gemma": "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
    "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n",
    "phi-3": "<|system|>\nBe brief<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
    "<|user|>\nWhy?<|end|>\n<|assistant|>\n",
    "zephyr": "<|system|>\nBe brief</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n"
    "<|user|>\nWhy?</s>\n<|assistant|>\n",
    "vicuna": "<s>Be brief USER: Hi ASSISTANT: Hello</s>USER: Why? ASSISTANT:",
    "alpaca": "<s>Be brief\n\n### Instruction:\nHi\n\n### Response:\nHello\n\n"
    "### Instruction:\nWhy?\n\n### Response:\n",
}
WITHOUT_SYSTEM = ("mistral", "gemma")


@pytest.mark.parametrize("name", TEMPLATES)
def test_prompts_are_as_the_format_says(name: str) -> None:
    template = ChatTemplate(find_template(name), bos="<s>", eos="</s>")
    knows_system = name not in WITHOUT_SYSTEM
    assert template.render([SYSTEM, *TURNS] if knows_system else TURNS) == PROMPTS[name]
    if not knows_system:
        with pytest.raises(GenerationError, match="there is no system role"):
            template.render([SYSTEM, *TURNS])


def test_names_and_files(tmp_path: Path) -> None:
    assert find_template("Llama_3") == TEMPLATES["llama-3"]
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages[0].content }}")
    assert find_template(str(path)) == "{{ messages[0].content }}"
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not text"):
        find_template(str(path))


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_template("chatlm")
    assert caught.value.hint == "did you mean `chatml`?"
