"""Templates of every family that must be translated, and of real models where the material has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from localllm.chat_template.named import TEMPLATES
from localllm.store import shipped_checkpoint

FAMILIES = ("chatml", "llama-2", "llama-3", "mistral", "gemma", "phi-3", "zephyr", "vicuna", "alpaca")


def shipped_template() -> str:
    demo = shipped_checkpoint("demo")
    assert demo is not None
    return (demo / "chat_template.jinja").read_text(encoding="utf-8")


def known_templates() -> dict[str, str]:
    return {**{name: TEMPLATES[name] for name in FAMILIES}, "demo": shipped_template()}


def real_templates(material: Path) -> Iterator[tuple[str, str]]:
    """Yield the chat templates of the material, by path."""
    for path in sorted(material.rglob("*.jinja")):
        yield str(path.relative_to(material)), path.read_text(encoding="utf-8")
    for path in sorted(material.rglob("*.json")):
        if path.name not in ("tokenizer_config.json", "chat_template.json"):
            continue
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        if isinstance(template, str):
            yield str(path.relative_to(material)), template
