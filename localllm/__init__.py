"""localllm: from a fine-tuned checkpoint to a measured GGUF and a chat, on your own machine.

The verbs of the command line, for Python:

    import localllm

    localllm.convert("my-finetune", output="my-finetune-BF16.gguf")
    localllm.merge("base", ["my-adapter"], output="my-finetune")
    localllm.quantize("my-finetune", ["Q4_K_M"], output="out/")
    localllm.inspect("out/my-finetune-Q4_K_M.gguf").bits_per_weight
    with localllm.load("out/my-finetune-Q4_K_M.gguf") as engine:
        print(engine.answer([{"role": "user", "content": "Hello"}]).text)

Every name is loaded on first use, so that importing localllm costs nothing, not even `typing`: the command
line starts with it, and Ctrl-C is not taken care of yet.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localllm.engine import Engine, EngineOptions, SamplingOptions
    from localllm.errors import LocalLLMError
    from localllm.quantization.options import QuantizationOptions
    from localllm.verbs.card import card
    from localllm.verbs.compare import compare
    from localllm.verbs.convert import check, convert
    from localllm.verbs.export import export_directory, export_lmstudio, export_ollama
    from localllm.verbs.inspect import inspect
    from localllm.verbs.load import load
    from localllm.verbs.merge import merge
    from localllm.verbs.pull import plan_pull, pull
    from localllm.verbs.push import plan_push, push
    from localllm.verbs.quantize import collect_imatrix, plan_quantization, quantize

_LAZY = {
    "Engine": "localllm.engine",
    "EngineOptions": "localllm.engine",
    "LocalLLMError": "localllm.errors",
    "QuantizationOptions": "localllm.quantization.options",
    "SamplingOptions": "localllm.engine",
    "card": "localllm.verbs.card",
    "check": "localllm.verbs.convert",
    "collect_imatrix": "localllm.verbs.quantize",
    "compare": "localllm.verbs.compare",
    "convert": "localllm.verbs.convert",
    "export_directory": "localllm.verbs.export",
    "export_lmstudio": "localllm.verbs.export",
    "export_ollama": "localllm.verbs.export",
    "inspect": "localllm.verbs.inspect",
    "load": "localllm.verbs.load",
    "merge": "localllm.verbs.merge",
    "plan_pull": "localllm.verbs.pull",
    "plan_push": "localllm.verbs.push",
    "plan_quantization": "localllm.verbs.quantize",
    "pull": "localllm.verbs.pull",
    "push": "localllm.verbs.push",
    "quantize": "localllm.verbs.quantize",
}

__all__ = [
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


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'localllm' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
