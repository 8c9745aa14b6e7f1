"""A request for a chat completion, as the API documents it, and what it asks of an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from localllm.engine.options import SamplingOptions
from localllm.native.schema_grammar import unenforced
from localllm.server.api_error import ApiError
from localllm.server.fields import Fields, SamplingFields, require_absent
from localllm.server.messages import Message
from localllm.server.tools import Tool, ToolChoice, ToolUse, tool_use

_MOST_MESSAGES = 20_000
_ANY_OBJECT = {"type": "object"}
_IMPOSSIBLE = {
    "audio": "models are given text only",
    "function_call": "use `tool_choice`",
    "functions": "use `tools`",
    "moderation": "nothing here moderates",
    "prediction": "answers are not predicted",
    "web_search_options": "nothing here searches the web",
}


class SchemaFormat(Fields):
    """A JSON schema that the answer follows; `strict` wants all of it followed, or an error."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _can_be_strict(self) -> SchemaFormat:
        ignored = unenforced(self.schema_) if self.strict else []
        if ignored:
            names = ", ".join(f"`{name}`" for name in ignored)
            raise ValueError(f"with `strict`, the schema's {names} would have to be enforced and cannot be")
        return self


class ResponseFormat(Fields):
    """What the answer looks like; `schema` beside `json_object` is llama.cpp's way to write a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    def schema_of_answer(self) -> dict[str, Any] | None:
        """Return the schema, None for free text. Raise ApiError for a format without what it needs."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return self.schema_ or _ANY_OBJECT
        given = self.json_schema.schema_ if self.json_schema is not None else self.schema_
        if given is None:
            raise ApiError(400, "json_schema needs its schema", param="response_format.json_schema")
        return given


class ChatFields(SamplingFields):
    """Every field that the Chat Completions API documents, and llama.cpp's own."""

    messages: list[Message] = Field(min_length=1, max_length=_MOST_MESSAGES)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = Field(default=None, max_length=40)
    chat_template_kwargs: dict[str, Any] | None = None

    # without effect on the answer
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    modalities: list[Literal["text"]] | None = None
    verbosity: Literal["medium"] | None = None

    # known, but impossible
    audio: Any = None
    function_call: Any = None
    functions: Any = None
    moderation: Any = None
    prediction: Any = None
    web_search_options: Any = None

    RENAMED: ClassVar[Mapping[str, str]] = {"json_schema": "response_format"}

    def options(self, grammar: str | None = None) -> SamplingOptions:
        """Return the sampling options; `grammar` is that of calls which must be made. Raise ApiError."""
        require_absent(dict(self), _IMPOSSIBLE)
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "top_logprobs needs `logprobs` to be true", param="top_logprobs")
        if grammar is not None:
            if self.grammar is not None or self.schema_of_answer() is not None:
                raise ApiError(
                    400, "a forced tool call and a format contradict each other", param="tool_choice"
                )
            return self.sampling(max_tokens=self._limit(), grammar=grammar)
        schema = self.schema_of_answer()
        return self.sampling(
            max_tokens=self._limit(), json_schema=None if schema is None else json.dumps(schema)
        )

    def schema_of_answer(self) -> dict[str, Any] | None:
        return None if self.response_format is None else self.response_format.schema_of_answer()

    def tool_use(self) -> ToolUse:
        """Return what may and must be called. Raise ApiError."""
        return tool_use(self.tools, self.tool_choice, self.parallel_tool_calls)

    def told_messages(self) -> list[dict[str, Any]]:
        """Return what the template is shown."""
        return [message.told() for message in self.messages]

    def template_names(self) -> dict[str, Any]:
        """Return more names for the template; models whose reasoning can be turned off know these two."""
        effort = self.reasoning_effort
        names: dict[str, Any] = {} if effort is None else {"reasoning_effort": effort}
        if effort == "none":
            names["enable_thinking"] = False
        return {**names, **(self.chat_template_kwargs or {})}

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to each token are asked for, None when no probabilities are."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def _limit(self) -> int | None:
        if self.max_completion_tokens is None:
            return self.max_tokens
        if self.max_tokens not in (None, self.max_completion_tokens):
            raise ApiError(
                400, "max_tokens and max_completion_tokens contradict each other", param="max_tokens"
            )
        return self.max_completion_tokens
