"""From the command line to a conversation: what is asked for, the model, and their end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from localllm.chatting import Chat
from localllm.cli.chat.input_line import open_input, prepare_input
from localllm.cli.chat.model_names import lasting
from localllm.cli.chat.once import converse, read_piped, script_of
from localllm.cli.chat.screen import Screen
from localllm.cli.chat.talk import Talk
from localllm.cli.chat.wishes import Plan, Wishes, planned
from localllm.engine import Engine
from localllm.errors import NotFoundError, UsageError
from localllm.remote.address import is_remote
from localllm.store import resolve
from localllm.verbs.load import load
from localllm.verbs.pull import have


def hold(wishes: Wishes, screen: Screen, *, fail_when_cut: bool = False) -> int:
    """Hold the conversation that `wishes` ask for, at the terminal or without, and return the exit status.

    Raise LocalLLMError, and KeyboardInterrupt for whoever wants to leave at once.
    """
    plan = planned(wishes)
    with ExitStack() as stack:
        if plan.memory:
            stack.callback(plan.memory.close)
        if plan.prompt is None and sys.stdin.isatty():
            if screen.out.as_json:
                raise UsageError("`--json` needs something to answer", hint="give a PROMPT or pipe one in")
            threading.Thread(target=prepare_input, daemon=True).start()  # while the model is loaded
            talk = stack.enter_context(opened(plan, screen))
            talk.is_interactive = True
            from localllm.cli.chat.interactive import interact

            interact(talk, open_input(talk))
            return 0
        script = script_of(plan.prompt, read_piped(screen))
        return converse(stack.enter_context(opened(plan, screen)), script, fail_when_cut=fail_when_cut)


@contextmanager
def opened(plan: Plan, screen: Screen) -> Iterator[Talk]:
    """Load the model and open the conversation; close both behind it."""

    def load_engine(reference: str) -> Engine:
        if is_remote(reference):
            return plan.server.engine(reference, context_size=plan.engine.context, emit=screen.emit)
        return load(reference, options=plan.engine, emit=screen.emit)

    def require_model(reference: str) -> None:
        if is_remote(reference):
            return
        have(reference, emit=screen.emit)
        resolve(reference)

    try:
        with screen.waiting(f"loading {plan.model}"):
            engine = load_engine(plan.model)
    except NotFoundError as error:
        if plan.is_resumed:
            error.hint = "the conversation was held with it; name another MODEL to go on with that"
        raise
    chat = None
    try:
        chat = Chat(
            engine,
            options=plan.sampling,
            model=lasting(plan.model),
            memory=plan.memory,
            overflow=plan.overflow,
            system=plan.system,
            persona=plan.persona,
            emit=screen.emit,
        )
        yield Talk(
            chat,
            screen,
            load_engine,
            require_model,
            think=plan.think,
            markdown=plan.markdown,
            grows=plan.engine.context is None and not is_remote(plan.model),
        )
    finally:
        if chat is not None:
            chat.close()
        (engine if chat is None else chat.engine).close()
