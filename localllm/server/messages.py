"""The messages of a chat request, and what a chat template is shown of them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from localllm.server.fields import Fields

_MOST_PARTS = 1024


def _joined_text(content: Any) -> Any:
    """Return the text of content given in parts; anything but text is refused with its kind."""
    if not isinstance(content, list):
        return content
    if len(content) > _MOST_PARTS:
        raise ValueError(f"more than {_MOST_PARTS} parts")
    return "".join(_text_of(part) for part in content)


def _text_of(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise ValueError("a part must be an object with a `type`")
    text = part.get("text" if kind == "text" else "refusal")
    if kind not in ("text", "refusal"):
        raise ValueError(f"parts of type `{kind[:40]}` are not supported: models are given text only")
    if not isinstance(text, str):
        raise ValueError(f"a part of type `{kind}` must have its `{kind}`")
    unknown = next((name for name in part if name not in ("type", kind, "cache_control")), None)
    if unknown is not None:
        raise ValueError(f"unknown field `{unknown[:40]}` in a part")
    return text


Content = Annotated[str | None, BeforeValidator(_joined_text)]


class CalledFunction(Fields):
    """A call that the model made before: `arguments` is the text of a JSON object."""

    name: str
    arguments: str

    def told(self) -> dict[str, Any]:
        """Return it as templates take it: they expect the arguments as an object."""
        try:
            arguments = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = self.arguments
        return {"name": self.name, "arguments": arguments}


class ToolCall(Fields):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None  # of a streamed call, which some clients send back as it was

    def told(self) -> dict[str, Any]:
        return {"id": self.id, "type": self.type, "function": self.function.told()}


class Message(Fields):
    """One message; which fields it may have depends on its role."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    # what answers of the API carry, and clients send back
    refusal: str | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> Message:
        if self.content is None and not (self.role == "assistant" and (self.tool_calls or self.refusal)):
            raise ValueError(f"a message of the role `{self.role}` must have `content`")
        if self.tool_calls is not None and self.role != "assistant":
            raise ValueError("only a message of the role `assistant` has `tool_calls`")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("`tool_call_id` belongs to messages of the role `tool`, which must have it")
        return self

    def told(self) -> dict[str, Any]:
        """Return what the template is shown; templates know `developer` by its older name."""
        role = "system" if self.role == "developer" else self.role
        found: dict[str, Any] = {"role": role, "content": self.content or self.refusal or ""}
        for name in ("name", "tool_call_id", "reasoning_content"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.tool_calls:
            found["tool_calls"] = [call.told() for call in self.tool_calls]
        return found
