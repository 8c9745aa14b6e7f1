"""Greedy answers equal llama.cpp's own, token for token, over 200 tokens.

`golden/greedy.json` holds what its llama-simple wrote, as tokens. With LOCALLLM_LLAMA_SIMPLE set to that
program (built from the sources the binding ships) it is asked again; LOCALLLM_WRITE_GOLDEN=1 writes the file.
The prompts are such that no likeliest token is a near tie, which another processor might decide otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localllm.engine import EngineOptions, LlamaEngine, SamplingOptions
from tests.engine.tiny_models import build_loud

GOLDEN = Path(__file__).parent / "golden" / "greedy.json"
TOKENS = 200
PROMPTS = {
    "demo": [
        "Question: How do the roles system, user and assistant differ?",
        "Question: How do Q4_K_S and Q4_K_M differ?",
        "Question: I need to leave, goodbye!",
    ],
    "loud": ["dddddddd"],
}
CASES = [(model, prompt) for model, prompts in PROMPTS.items() for prompt in prompts]
_ORACLE = os.environ.get("LOCALLLM_LLAMA_SIMPLE")
_WRITE = bool(os.environ.get("LOCALLLM_WRITE_GOLDEN"))


@pytest.fixture(scope="module")
def paths(demo_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"demo": demo_path, "loud": build_loud(tmp_path_factory.mktemp("loud") / "loud.gguf")}


def ours(path: Path, prompt: str) -> tuple[list[int], bytes]:
    """Return the tokens of our greedy answer, and prompt and answer as bytes."""
    # the prompt as it is: a template that says nothing else
    options = EngineOptions(context=512, template=prompt + "{# #}")
    with LlamaEngine(path, options) as engine:
        chunks = engine.stream(
            [{"role": "user", "content": "?"}], SamplingOptions(temperature=0, max_tokens=TOKENS + 1)
        )
        assert list(chunks)[-1].finish_reason == "length"
        tokens = engine._workspace.tokens
        said = tokens[-TOKENS:]
        return said, b"".join(engine._model.piece(token, special=True) for token in tokens)


@pytest.mark.parametrize(("model", "prompt"), CASES)
def test_greedy_answers_are_llama_cpps(paths: dict[str, Path], model: str, prompt: str) -> None:
    tokens, text = ours(paths[model], prompt)
    if _ORACLE:
        command = [_ORACLE, "-m", str(paths[model]), "-n", str(TOKENS), prompt]
        theirs = subprocess.run(command, capture_output=True, check=True).stdout
        assert theirs.endswith(text.removeprefix(b"<s>") + b"\n")
    golden: dict[str, Any] = json.loads(GOLDEN.read_text("ascii")) if GOLDEN.exists() else {}
    if _ORACLE and _WRITE:
        golden.setdefault(model, {})[prompt] = tokens
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(golden, sort_keys=True) + "\n", "ascii")
    assert tokens == golden[model][prompt]
