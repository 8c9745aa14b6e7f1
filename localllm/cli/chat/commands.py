"""The commands of the chat: what they are called, what they take, and how one is found."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from localllm.cli.chat.talk import Talk
from localllm.errors import UsageError

Run = Callable[[Talk, str], None]
Complete = Callable[[Talk, str], Iterable[str]]


@dataclass(frozen=True)
class Command:
    """One command: `run` gets what is written behind its name, `complete` what goes on from there."""

    name: str
    argument: str
    help: str
    run: Run
    complete: Complete | None = None
    takes_path: bool = False

    @property
    def usage(self) -> str:
        """Return how the command is written."""
        return f"/{self.name} {self.argument}".rstrip()


def by_name(commands: Sequence[Command]) -> Mapping[str, Command]:
    """Return commands under their names."""
    return {command.name: command for command in commands}


def find_command(name: str, commands: Mapping[str, Command]) -> Command:
    """Return the command called `name`. Raise UsageError with the nearest name."""
    if name in commands:
        return commands[name]
    begun = [known for known in commands if known.startswith(name)]
    near = begun or difflib.get_close_matches(name, commands, n=1, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(f'`/{known}`' for known in near[:3])}?" if near else "`/help` lists them"
    )
    raise UsageError(
        f"there is no command `/{name}`", hint=f"{hint} A space in front makes it a message" if near else hint
    )
