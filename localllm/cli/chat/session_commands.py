"""Commands about where a conversation is kept, and with which model it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from localllm import sessions
from localllm.cli.chat.commands import Command
from localllm.cli.chat.figures import size_in_words
from localllm.cli.chat.model_names import completions, other_model
from localllm.cli.chat.switching import switch_model
from localllm.cli.chat.talk import Talk
from localllm.errors import UsageError
from localllm.publication import publishing
from localllm.sessions import ExportFormat, Saved

_LISTED = 20
_FORMS = {".md": ExportFormat.MARKDOWN, ".json": ExportFormat.JSON, ".jsonl": ExportFormat.JSONL}


def save(talk: Talk, argument: str) -> None:
    """Tell where the conversation is, name it, or write it to a file in the form that its ending tells."""
    form = _FORMS.get(Path(argument).suffix.lower())
    if form is not None:
        _export(talk, Path(argument).expanduser(), form)
        return
    if argument:
        talk.chat.rename(argument)
    if talk.chat.name:
        talk.screen.status(f"saved as `{talk.chat.name}`, as it happens")
    elif talk.chat.is_saved:
        talk.screen.status("it is saved from the first message on")
    else:
        talk.screen.status("this conversation is not saved; `/save NAME` changes that")


def load(talk: Talk, argument: str) -> None:
    """Go on with another saved conversation, or list them."""
    if not argument:
        rows = [
            (entry.name, f"{entry.messages} messages", entry.problem or entry.first_words)
            for entry in sessions.list_sessions()[:_LISTED]
        ]
        if rows:
            talk.screen.rows(rows)
        else:
            talk.screen.line("there are no saved conversations")
        return
    path = sessions.find(argument)
    if talk.chat.name == sessions.session_name(path):
        raise UsageError("this is the conversation that you are in")
    memory = sessions.open_session(str(path))
    talk.chat.resume(memory)
    talk.attachments.clear()
    other = memory.saved.model not in ("", talk.chat.model)
    held = f", held with {memory.saved.model}" if other else ""
    talk.screen.status(f"going on with `{talk.chat.name}`, {talk.chat.resumed} messages{held}")


def model(talk: Talk, argument: str) -> None:
    """Go on with another model; the one that talks stays when that cannot be loaded."""
    if not argument:
        talk.screen.line(f"{talk.chat.model}; `/model NAME` or `/model :LEVEL` goes on with another")
        return
    reference = other_model(talk.chat.model, argument)
    with talk.screen.waiting("loading"):
        switch_model(talk, reference)
    talk.screen.status(f"{talk.chat.model} goes on, {size_in_words(talk.chat.engine)}")


def _export(talk: Talk, path: Path, form: ExportFormat) -> None:
    chat = talk.chat
    if path.exists():
        raise UsageError(f"{path} exists", hint="choose another name; nothing is overwritten")
    turns = tuple(message for message in chat.messages if message.role != "system")
    if not turns:
        raise UsageError("nothing was said yet")
    saved = Saved(chat.model, turns, chat.system, chat.persona, chat.options.to_dict())
    text = sessions.export([(chat.name or chat.model, saved)], form)
    with publishing(path) as part:
        part.chmod(0o600)  # as private as the conversation is
        part.write_text(text, encoding="utf-8")
    talk.screen.status(f"wrote {path}")


def _complete_sessions(_talk: Talk, begun: str) -> Iterable[str]:
    return [entry.name for entry in sessions.list_sessions() if entry.name.startswith(begun)]


def _complete_model(talk: Talk, begun: str) -> Iterable[str]:
    return completions(talk.chat.model, begun)


SESSION_COMMANDS = (
    Command("save", "[NAME|FILE]", "name the conversation, or write it to a .md, .json or .jsonl file", save),
    Command("load", "[NAME]", "go on with another conversation, or list them", load, _complete_sessions),
    Command("model", "[REF]", "go on with another model; `:Q4_K_M` with another level of this one", model,
            _complete_model),
)  # fmt: skip
