"""From a chat request to what the engine is asked, and to how its answer is to be read."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.batching import GenerationRequest
from localllm.server.api_error import unsupported
from localllm.server.call_reader import CallReader
from localllm.server.call_syntax import CONTROL_TEXTS, CallSyntax, syntax_of
from localllm.server.chat_fields import ChatFields
from localllm.server.engines import Engine
from localllm.server.forced_calls import forced_grammar
from localllm.server.reply import Reply
from localllm.server.tools import ToolUse


@dataclass(frozen=True)
class ChatPlan:
    """What is asked, and what its answers are made of; `opened` tells that they begin inside of reasoning."""

    request: GenerationRequest
    uses: ToolUse
    syntax: CallSyntax
    opened: bool

    def new_reply(self) -> Reply:
        """Return what reads one of the answers."""
        schemas = {function.name: function.schema_of_arguments for function in self.uses.offered}
        reader = CallReader(self.syntax, schemas) if schemas else None
        return Reply(self.opened, reader, self.uses.several)


def plan_chat(engine: Engine, wish: ChatFields) -> ChatPlan:
    """Return the plan for a request; takes its time. Raise ApiError and what the engine's prompts raise."""
    uses = wish.tool_use()
    if uses.offered and not engine.takes_tools:
        raise unsupported("tools", "tools are not supported: this model's chat template knows none")
    syntax = syntax_of(engine.template or "") if uses.offered else CallSyntax.LLAMA
    if syntax is None:
        raise unsupported("tools", "tools are not supported: this model writes calls in a way of its own")
    grammar = forced_grammar(uses.forced, syntax, engine.path) if uses.forced else None
    options = wish.options(grammar)
    prompt = engine.chat_prompt(
        wish.told_messages(),
        tools=[tool.told() for tool in wish.tools or ()] if uses.offered else None,
        variables=wish.template_names(),
    )
    shown = CONTROL_TEXTS if uses.offered else frozenset()
    request = GenerationRequest(prompt.tokens, options, wish.alternatives, shown)
    # what must follow a grammar cannot end reasoning first
    opened = prompt.opens_reasoning and options.grammar is None and options.json_schema is None
    return ChatPlan(request, uses, syntax, opened)
