"""Renders a conversation the way Ollama does with the TEMPLATE of a Modelfile.

After template/template.go of Ollama: neighbouring messages of one role are put together with a blank line,
and `.System` has the texts of all system messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localllm.export.go_template import GoTemplate

_GAP = "\n\n"


def render(template: GoTemplate, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the prompt that Ollama makes of messages (role and content each). Raise GoTemplateError."""
    joined = collated(messages)
    system = [message["content"] for message in joined if message["role"] == "system"]
    return template.render(
        {
            "System": _GAP.join(system),
            "Messages": [_message(each) for each in joined],
            "Tools": [],
            "Response": "",
            "Think": False,
            "IsThinkSet": False,
        }
    )


def collated(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the messages with neighbours of one role put together."""
    found: list[dict[str, str]] = []
    for message in messages:
        if found and found[-1]["role"] == message["role"]:
            found[-1]["content"] += _GAP + message["content"]
        else:
            found.append({"role": message["role"], "content": message["content"]})
    return found


def _message(message: Mapping[str, str]) -> dict[str, Any]:
    return {"Role": message["role"], "Content": message["content"], "Thinking": "", "ToolCalls": []}
