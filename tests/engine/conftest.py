"""Models the engine tests share: the demo, and tiny ones with other vocabularies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_gguf import build_tiny_gguf

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="session")
def demo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that ships, quantized."""
    from localllm.pipeline import quantize_model
    from localllm.quantization.levels import LEVELS
    from localllm.store import shipped_checkpoint

    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    path = tmp_path_factory.mktemp("engine") / "demo-Q8_0.gguf"
    quantize_model(checkpoint, [(LEVELS["Q8_0"], path)])
    return path


@pytest.fixture(scope="session")
def spm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, a vocabulary like Llama 2's and a template like it."""
    return build_tiny_gguf(tmp_path_factory.mktemp("spm") / "spm.gguf", width=64, layers=1, template=LLAMA)


@pytest.fixture(scope="session")
def bpe_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, a vocabulary like GPT-2's, ChatML."""
    path = tmp_path_factory.mktemp("bpe") / "bpe.gguf"
    return build_tiny_gguf(path, width=64, layers=1, vocabulary="bpe", template=CHATML)
