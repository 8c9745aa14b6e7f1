"""The tools of a chat request and which of them the model may or must call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from localllm.server.api_error import ApiError
from localllm.server.fields import Fields

_MOST_TOOLS = 128
_NO_PARAMETERS = {"type": "object", "properties": {}}


class Function(Fields):
    """A function; `parameters` is a JSON schema of its arguments."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @property
    def schema_of_arguments(self) -> dict[str, Any]:
        return self.parameters or _NO_PARAMETERS


class Tool(Fields):
    type: Literal["function"]
    function: Function

    def told(self) -> dict[str, Any]:
        """Return it as chat templates take tools."""
        function = {
            "name": self.function.name,
            "description": self.function.description or "",
            "parameters": self.function.schema_of_arguments,
        }
        return {"type": "function", "function": function}


class FunctionName(Fields):
    name: str


class NamedTool(Fields):
    """The one function that must be called."""

    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedTool


@dataclass(frozen=True)
class ToolUse:
    """What the model may call, what it must (one of `forced`, where there are any), and how often."""

    offered: tuple[Function, ...] = ()
    forced: tuple[Function, ...] = ()
    several: bool = True


def tool_use(tools: Sequence[Tool] | None, choice: ToolChoice | None, several: bool | None) -> ToolUse:
    """Return what a request says about tools. Raise ApiError where that contradicts itself."""
    functions = {tool.function.name: tool.function for tool in tools or ()}
    if len(functions) < len(tools or ()):
        raise ApiError(400, "two tools have the same name", param="tools")
    if len(functions) > _MOST_TOOLS:
        raise ApiError(400, f"more than {_MOST_TOOLS} tools", param="tools")
    if not functions:
        if choice not in (None, "none", "auto"):
            raise ApiError(400, "tool_choice needs `tools`", param="tool_choice")
        return ToolUse()
    if choice == "none":
        return ToolUse()
    offered, parallel = tuple(functions.values()), several is not False
    if isinstance(choice, NamedTool):
        named = functions.get(choice.function.name)
        if named is None:
            raise ApiError(400, f"there is no tool `{choice.function.name}`", param="tool_choice")
        return ToolUse(offered, (named,), several=False)
    return ToolUse(offered, offered if choice == "required" else (), parallel)
