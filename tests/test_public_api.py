"""The names Python users rely on, and that importing them costs nothing until they are used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import localllm
from tests.cli.process import environment

PUBLIC = [
    "Engine",
    "EngineOptions",
    "LocalLLMError",
    "QuantizationOptions",
    "SamplingOptions",
    "__version__",
    "card",
    "check",
    "collect_imatrix",
    "compare",
    "convert",
    "export_directory",
    "export_lmstudio",
    "export_ollama",
    "inspect",
    "load",
    "merge",
    "plan_pull",
    "plan_push",
    "plan_quantization",
    "pull",
    "push",
    "quantize",
]


def test_public_names_are_pinned() -> None:
    assert localllm.__all__ == PUBLIC
    assert all(getattr(localllm, name) is not None for name in PUBLIC)


def test_verbs_take_keyword_options_and_emit_last() -> None:
    for name in (
        "check",
        "convert",
        "quantize",
        "plan_quantization",
        "collect_imatrix",
        "merge",
        "compare",
        "card",
        "export_directory",
        "export_lmstudio",
        "export_ollama",
        "load",
        "plan_push",
        "push",
    ):
        parameters = list(inspect.signature(getattr(localllm, name)).parameters.values())
        assert parameters[-1].name == "emit"
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[2:])


def test_import_is_free() -> None:
    code = "import sys, localllm; assert 'numpy' not in sys.modules and 'llama_cpp' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], env=environment(), check=False)
    assert result.returncode == 0
