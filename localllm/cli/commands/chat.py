"""`localllm chat`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from localllm.cli.options import ContextOpt, JsonOpt, QuietOpt, ThreadsOpt
from localllm.cli.output import Output


def chat(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A .gguf file, a checkpoint directory or a name in the library."
        ),
    ] = "demo",
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Answer this once and exit.", show_default=False)
    ] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.", show_default=False)] = None,
    session: Annotated[
        str | None,
        typer.Option(
            help="Save the conversation under this name (or .json path) and resume it.", show_default=False
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="0 (always the likeliest) to 2.", show_default="the model's, else 0.7"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Share of probability to draw from.", show_default="the model's, else 0.95"),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer in tokens.", show_default="until the context is full")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes answers repeatable.", show_default="random")] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="End the answer before this text; repeatable.", show_default=False),
    ] = None,
    context: ContextOpt = None,
    threads: ThreadsOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Talk to a model.

    Interactively, or once with PROMPT or piped input. In the chat `quit`, `/quit` or Ctrl-D end it,
    Ctrl-C stops an answer. Piped input is one prompt; when its last line is `quit` it is a
    conversation, one message a line.
    """
    out = Output("chat", as_json=json, quiet=quiet)
    from localllm.chatting import Chat
    from localllm.cli.chat_view import converse, interact
    from localllm.engine import SamplingOptions
    from localllm.verbs.load import load

    options = SamplingOptions(
        temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed, stop=tuple(stop or ())
    )
    piped = None if prompt is not None or sys.stdin.isatty() else sys.stdin.read()
    with load(model, context_size=context, threads=threads, emit=out.emit) as engine:
        conversation = Chat(engine, options, model=model, system=system, session=session, emit=out.emit)
        if prompt is None and piped is None:
            interact(conversation, out)
        else:
            converse(conversation, prompt if prompt is not None else piped or "", out)
