"""Renders an answer as Markdown while it comes: finished blocks are printed once, the last one is redrawn."""

from __future__ import annotations

import time

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

from localllm.cli.chat.answer_view import AnswerView, PlainView, Think
from localllm.cli.chat.markdown_blocks import finished_length
from localllm.control_filter import ControlFilter, clean

_REDRAW_SECONDS = 0.08
_CODE_THEME = "ansi_dark"


class MarkdownView(AnswerView):
    """For terminals whose cursor can go back. Reasoning stays plain text."""

    def __init__(self, think: Think) -> None:
        self._reasoning: PlainView | None = PlainView(think)
        self._has_reasoned = False
        self._filter = ControlFilter()
        self._console = Console(highlight=False, soft_wrap=False)
        self._live: Live | None = None
        self._open = ""  # the text of the last block
        self._drawn_at = 0.0
        self._has_printed = False

    def reason(self, text: str) -> None:
        if self._reasoning:
            self._has_reasoned = True
            self._reasoning.reason(text)

    def say(self, text: str) -> None:
        self._leave_reasoning()
        self._open += self._filter.feed(text)
        done = finished_length(self._open)
        if done:
            finished, self._open = self._open[:done], self._open[done:]
            self._print(finished)
        now = time.monotonic()
        if self._open.strip() and now - self._drawn_at >= _REDRAW_SECONDS:
            self._drawn_at = now
            self._draw()

    def close(self) -> None:
        if self._reasoning:
            if self._has_reasoned:
                self._reasoning.close()
            self._reasoning = None
        rest, self._open = self._open, ""
        try:
            if rest.strip():
                self._print(rest)
        finally:
            if self._live:
                self._live.stop()
                self._live = None
        if not self._has_printed and not self._has_reasoned:
            self._console.print()

    def _leave_reasoning(self) -> None:
        if self._reasoning and self._has_reasoned:
            self._reasoning.close()
            self._console.print()
        self._reasoning = None

    def _print(self, text: str) -> None:
        """Print finished text for good, and what follows it below, in one go."""
        block = _Block(text, below_others=self._has_printed)
        self._has_printed = True
        if self._live:
            self._live.update(self._growing())
        self._console.print(block)

    def _draw(self) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._growing(), refresh=True)

    def _growing(self) -> _Block:
        return _Block(self._open, below_others=self._has_printed, is_open=True)


class _Block:
    """Rendered Markdown without blank lines around it: all of it, or the end that the screen holds."""

    def __init__(self, text: str, *, below_others: bool = False, is_open: bool = False) -> None:
        self._markdown = Markdown(text, code_theme=_CODE_THEME, hyperlinks=False)
        self._below_others = below_others
        self._is_open = is_open

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [
            [_harmless(segment) for segment in line if not segment.control]
            for line in console.render_lines(self._markdown, options, pad=False)
        ]
        while lines and _is_blank(lines[0]):
            del lines[0]
        while lines and _is_blank(lines[-1]):
            del lines[-1]
        if lines and self._below_others:
            lines.insert(0, [])
        shown = lines[-max(console.height - 2, 1) :] if self._is_open else lines
        for line in shown:
            yield from line
            yield Segment.line()


def _harmless(segment: Segment) -> Segment:
    """Take out links that a terminal would open, and what entities have turned into."""
    style = segment.style
    if style is not None and style.link:
        style = style.update_link(None)
    return Segment(clean(segment.text), style)


def _is_blank(line: list[Segment]) -> bool:
    return not any(segment.text.strip() for segment in line)
