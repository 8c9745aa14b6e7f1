"""A conversation as the command line holds it: the chat, how it is shown, and what is to come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from localllm.chatting import Chat
from localllm.cli.chat.answer_view import AnswerView, PlainView, Think, Unseen, shows_reasoning
from localllm.cli.chat.answering import Outcome, show_answer
from localllm.cli.chat.attachments import Attachment
from localllm.cli.chat.figures import figures_line
from localllm.cli.chat.interruption import stoppable
from localllm.cli.chat.looks import looks_of
from localllm.cli.chat.screen import Screen
from localllm.engine import Chunk, Engine, Statistics


@dataclass
class Totals:
    """What all answers of this run took."""

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def add(self, statistics: Statistics) -> None:
        """Count the answers to a message in."""
        self.answers += statistics.answers
        self.prompt_tokens += statistics.prompt_tokens
        self.cached_tokens += statistics.cached_tokens
        self.completion_tokens += statistics.completion_tokens


@dataclass
class Talk:
    """`load_engine` opens the model behind a reference, `require_model` finds out whether there is one.

    `draft` is to be changed in the input line; with `is_editing` the next message takes the place of the last
    question. `grows` tells that the context may become as large as the model allows, `is_interactive` that
    somebody types at a terminal.
    """

    chat: Chat
    screen: Screen
    load_engine: Callable[[str], Engine]
    require_model: Callable[[str], object]
    think: Think = Think.DIM
    markdown: bool = False
    grows: bool = False
    is_interactive: bool = False
    attachments: list[Attachment] = field(default_factory=list)
    draft: str = ""
    is_editing: bool = False
    totals: Totals = field(default_factory=Totals)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def largest_context(self) -> int:
        """Return how many tokens the context can hold at most."""
        engine = self.chat.engine
        return max(engine.context_size, engine.training_context) if self.grows else engine.context_size

    def answer(self, chunks: Iterator[Chunk]) -> Outcome:
        """Show an answer as it comes and keep its figures. Raise KeyboardInterrupt when asked to leave."""
        shown = shows_reasoning(self.think, looks_of(sys.stdout))
        stopping = stoppable(self.chat.engine.interrupt, hides_keys=self.is_interactive)
        with stopping as stop, self.screen.waiting("reading"):
            outcome = show_answer(
                chunks,
                self._view,
                opened=self.chat.engine.opens_reasoning,
                stop=stop,
                before_text=self.screen.calm,
                in_hiding=None if shown else lambda: self.screen.goes_on("thinking"),
            )
        if outcome.statistics:
            self.totals.add(outcome.statistics)
        self.outcomes.append(outcome)
        if self.is_interactive:
            self.screen.status(f"{figures_line(outcome, self.chat)}\n")
        return outcome

    def _view(self, index: int) -> AnswerView:
        if self.screen.out.as_json:
            return Unseen()
        looks = looks_of(sys.stdout)
        if index:
            print(looks.dim(f"--- {index + 1} ---") if looks.is_terminal else "---", flush=True)
        if self.markdown and looks.moves:
            from localllm.cli.chat.markdown_view import MarkdownView

            return MarkdownView(self.think)
        return PlainView(self.think, looks=looks)
