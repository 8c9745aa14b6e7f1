"""The input line with prompt_toolkit: several lines, history with search, completion, paste-safe.

Enter sends and Alt-Enter begins a new line; inside of triple quotes Enter begins a new line, too. The
terminal is never asked anything (no cursor position reports), so that no answer can end up in the shell.
"""

from __future__ import annotations

import sys
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import Completer
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.styles import Style

from localllm.cli.chat.history import PrivateHistory, history_path
from localllm.cli.chat.input_line import InputLine, Key
from localllm.cli.chat.looks import looks_of
from localllm.cli.chat.typed import is_open

_STYLE = Style.from_dict(
    {
        "mark": "bold",
        "continuation": "#888888",
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit #888888",
        "completion-menu.meta.completion.current": "noinherit reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit reverse",
    }
)


class EditedLine(InputLine):
    """An input line on `stream`, a terminal whose cursor can move."""

    def __init__(self, stream: TextIO, completer: Completer | None, *, keeps_history: bool) -> None:
        styles = looks_of(stream).styles
        self._session: PromptSession[str | Key] = PromptSession(
            multiline=True,
            history=PrivateHistory(history_path(), keeps=keeps_history),
            completer=completer,
            complete_while_typing=Condition(_types_a_command),
            complete_in_thread=True,
            key_bindings=_keys(),
            prompt_continuation=_continuation,
            input_processors=[TabsProcessor(char1=" ", char2=" ")],
            enable_suspend=True,
            enable_open_in_editor=True,
            reserve_space_for_menu=6,
            style=_STYLE if styles else None,
            color_depth=None if styles else ColorDepth.DEPTH_1_BIT,
            output=_output(stream),
        )

    def read(self, mark: str, draft: str = "") -> str | Key:
        try:
            return self._session.prompt([("class:mark", mark)], default=draft)
        except EOFError:
            return Key.END


def _output(stream: TextIO) -> Output:
    if sys.platform == "win32":
        from prompt_toolkit.output import create_output

        return create_output(stream)
    from prompt_toolkit.output.vt100 import Vt100_Output

    output = Vt100_Output.from_pty(stream)
    output.enable_cpr = False
    return output


def _types_a_command() -> bool:
    return get_app().current_buffer.text.startswith("/")


def _continuation(width: int, _line: int, _wraps: int) -> StyleAndTextTuples:
    return [("class:continuation", "… ".rjust(width))]


def _keys() -> KeyBindings:
    bindings = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=typing)
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        chosen = buffer.complete_state and buffer.complete_state.current_completion
        if chosen and chosen.text.endswith((" ", "/")):  # there is more to come
            buffer.complete_state = None
        elif is_open(buffer.text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter", filter=typing)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("tab", filter=typing)
    def _complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is None:
            buffer.start_completion(insert_common_part=True)
        elif len(buffer.complete_state.completions) == 1:
            buffer.apply_completion(buffer.complete_state.completions[0])
        else:
            buffer.complete_next()

    @bindings.add("c-c", filter=typing)
    @bindings.add("<sigint>")
    def _interrupt(event: KeyPressEvent) -> None:
        has_text = bool(event.app.current_buffer.text)
        event.app.exit(result=Key.CLEAR if has_text else Key.INTERRUPT, style="class:aborting")

    return bindings
