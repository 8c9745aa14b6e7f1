"""Which method quantized a checkpoint, as config.json says, and what those that are not read are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.checkpoint import Checkpoint, is_hub_name, stated_bases
from localllm.errors import UnsupportedModelError

_KEYS = ("quantization_config", "compression_config")  # the latter in the first years of compressed-tensors
_SECTIONS = ("text_config",)
_MAX_NAME = 40
_NO_BASE = "convert the model it was made from, which its model card may name, or save it in 16 bits"
# what files say besides the name their method goes by
_ALIASES = {
    "bitsandbytes-4bit": "bitsandbytes",
    "bitsandbytes-8bit": "bitsandbytes",
    "bnb": "bitsandbytes",
    "fbgemm-fp8": "fbgemm_fp8",
}
_SPELLINGS = {
    "aqlm": "AQLM",
    "auto-round": "AutoRound",
    "awq": "AWQ",
    "bitnet": "BitNet",
    "eetq": "EETQ",
    "fbgemm_fp8": "FBGEMM FP8",
    "fp-quant": "FP-Quant",
    "gptq": "GPTQ",
    "higgs": "HIGGS",
    "hqq": "HQQ",
    "modelopt": "ModelOpt",
    "mxfp4": "MXFP4",
    "quanto": "Quanto",
    "quark": "Quark",
    "spqr": "SpQR",
    "vptq": "VPTQ",
}


def quantization_method(config: Mapping[str, Any]) -> str | None:
    """Return the name of the method that quantized the weights, in lower case, or None.

    `config` is the content of config.json. The name is `unknown` when there are settings of no known kind.
    """
    settings = quantization_settings(config)
    if not settings:
        return None
    named = settings.get("quant_method")
    if isinstance(named, str) and named.strip():
        name = named.strip().lower().replace("_", "-")
        return _ALIASES.get(name, name)
    if any(settings.get(key) for key in ("load_in_4bit", "load_in_8bit")):
        return "bitsandbytes"  # before transformers 4.34 nothing else was saved
    if "config_groups" in settings:
        return "compressed-tensors"
    return "modelopt" if "quant_algo" in settings else "unknown"


def quantization_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of the method, those of the language model in a multimodal one; or nothing."""
    sections = [config, *(config.get(name) for name in _SECTIONS)]
    for section in sections:
        for key in _KEYS:
            settings = section.get(key) if isinstance(section, Mapping) else None
            if isinstance(settings, Mapping) and settings:
                return settings
    return {}


def without_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json without the settings of any method."""
    plain = {key: value for key, value in config.items() if key not in _KEYS}
    for name in _SECTIONS:
        if isinstance(plain.get(name), Mapping):
            plain[name] = {key: value for key, value in plain[name].items() if key not in _KEYS}
    return plain


def unsupported(checkpoint: Checkpoint, method: str, detail: str = "") -> UnsupportedModelError:
    """Return the error for a method, or a form of it, whose weights are not read."""
    named = "an unknown method" if method == "unknown" else f"{_SPELLINGS.get(method, _printable(method))}"
    detail = f" ({_printable(detail)})" if detail else ""
    base = unquantized_base(checkpoint)
    return UnsupportedModelError(
        f"the checkpoint is quantized with {named}{detail}, which cannot be read",
        hint=f"convert its unquantized base, {base}" if base else _NO_BASE,
    )


def unquantized_base(checkpoint: Checkpoint) -> str | None:
    """Return the hub's name of the model a quantized checkpoint was made from, as far as it says so."""
    own_name = checkpoint.directory.resolve().name
    for name in stated_bases(checkpoint):
        is_place = name == checkpoint.config.get("_name_or_path") and "/" not in name  # mostly a directory
        if is_hub_name(name) and not is_place and name.split("/")[-1] != own_name:
            return name
    return None


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:_MAX_NAME]
