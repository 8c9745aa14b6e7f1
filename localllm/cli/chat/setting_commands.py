"""Commands that show and change how the model answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from localllm.cli.chat.answer_view import Think
from localllm.cli.chat.commands import Command
from localllm.cli.chat.figures import last_rows, usage_in_words
from localllm.cli.chat.sampling import SAMPLING_SETTINGS, SamplingSetting, changed, find_setting, shown
from localllm.cli.chat.talk import Talk
from localllm.cli.chat.typed import unquoted
from localllm.conversation import Role
from localllm.engine import Source
from localllm.errors import UsageError
from localllm.personas import find_persona, system_prompt
from localllm.personas import names as persona_names
from localllm.sessions import first_words

_NOTHING = ("-", "none")
_SOURCES = {
    Source.GIVEN: "given",
    Source.FILE: "from the model's file",
    Source.GENERATION_CONFIG: "from generation_config.json",
    Source.DEFAULT: "default",
    Source.SERVER: "left to the server",
}
_VIEW_SETTINGS = {
    "think": "show, dim or hide: the model's reasoning",
    "markdown": "on or off: render answers",
}


def system(talk: Talk, argument: str) -> None:
    """Show, change or remove the system prompt."""
    if not argument:
        talk.screen.line(talk.chat.system or "there is no system prompt")
        return
    text = None if argument in _NOTHING else system_prompt(unquoted(argument), None)
    talk.chat.set_system(text)
    talk.screen.status("the system prompt is in effect from the next message" if text else "no system prompt")


def persona(talk: Talk, argument: str) -> None:
    """Take the system prompt of a persona, or list them."""
    if not argument:
        talk.screen.line(f"{talk.chat.persona or 'no persona'}; there are {', '.join(persona_names())}")
        return
    talk.chat.set_system(find_persona(argument), persona=argument)
    talk.screen.status(f"from the next message on {argument} answers")


def set_option(talk: Talk, argument: str) -> None:
    """Change an option, show one, or list what there is."""
    if not argument:
        _list_options(talk)
        return
    name, value = [*re.split(r"[\s=]+", argument, maxsplit=1), ""][:2]
    if name in _VIEW_SETTINGS:
        _set_view(talk, name, value.strip())
        return
    setting = find_setting(name)
    if value.strip():
        talk.chat.set_options(changed(talk.chat.options, setting, _words(setting, value)))
    talk.screen.rows([_row(talk, setting)])


def show(talk: Talk, _argument: str) -> None:
    """Show what is in effect, and for sampling options where it comes from."""
    chat, usage = talk.chat, talk.chat.usage()
    kept = chat.name or ("saved from the first message on" if chat.is_saved else "not saved")
    talk.screen.rows(
        [
            ("model", chat.model if chat.model == chat.engine.name else f"{chat.model} ({chat.engine.name})"),
            ("session", kept),
            ("context", usage_in_words(usage)),
            ("system", first_words(chat.system, 300) if chat.system else "none"),
            *([("persona", chat.persona)] if chat.persona else []),
            ("think", talk.think.value),
            ("markdown", "on" if talk.markdown else "off"),
        ]
    )
    talk.screen.line()
    talk.screen.rows([_row(talk, setting) for setting in SAMPLING_SETTINGS.values()])


def stats(talk: Talk, _argument: str) -> None:
    """Show the figures of the last answer and of this run."""
    rows = last_rows(talk.chat)
    if not rows:
        talk.screen.line("nothing was answered yet")
        return
    totals = talk.totals
    read = totals.prompt_tokens - totals.cached_tokens
    whole = (
        f"{totals.answers} answer{'s' if totals.answers != 1 else ''}, {totals.completion_tokens} tokens "
        f"written, {read} read, {totals.cached_tokens} not read again"
    )
    talk.screen.rows([*rows, ("in this run", whole)])


def tokens(talk: Talk, argument: str) -> None:
    """Show how full the context is, or count the tokens of a text."""
    chat, engine = talk.chat, talk.chat.engine
    if argument:
        talk.screen.line(f"{engine.count_text(unquoted(argument))} tokens")
        return
    usage, seen = chat.usage(), chat.seen()
    counts = [(message.role, engine.count_text(message.content)) for message in seen]
    roles = {role: sum(count for each, count in counts if each is role) for role in Role}
    share = f", {usage.tokens / usage.context_size:.0%}" if usage.context_size else ""
    rows = [("context", f"{usage_in_words(usage)}{share}")]
    names = {Role.SYSTEM: "system prompt", Role.USER: "your messages", Role.ASSISTANT: "answers"}
    rows += [(names[role], f"{count} tokens") for role, count in roles.items() if count]
    if talk.attachments:
        rows.append(("attached", f"{sum(each.tokens for each in talk.attachments)} tokens"))
    if len(seen) < len(chat.messages):
        rows.append(("messages", f"the model sees {len(seen)} for the {len(chat.messages)} there are"))
    talk.screen.rows(rows)


def _list_options(talk: Talk) -> None:
    talk.screen.rows(
        [
            *((setting.flag, setting.accepts) for setting in SAMPLING_SETTINGS.values()),
            *_VIEW_SETTINGS.items(),
        ]
    )
    talk.screen.line()
    talk.screen.line(
        "`/set OPTION VALUE` changes one, `/set OPTION default` takes it back, `/show` lists values"
    )


def _row(talk: Talk, setting: SamplingSetting) -> tuple[str, str, str]:
    effective = talk.chat.engine.effective(talk.chat.options)[setting.name]
    value = "–" if effective.source is Source.SERVER else shown(setting.name, effective.value)
    return setting.flag, value, _SOURCES[effective.source]


def _words(setting: SamplingSetting, text: str) -> list[str]:
    if not setting.is_list:
        return [text.strip()]
    try:
        return shlex.split(text, posix=setting.name == "stop")
    except ValueError as error:
        raise UsageError(f"{setting.flag}: {str(error).lower()}") from None


def _set_view(talk: Talk, name: str, value: str) -> None:
    if name == "think":
        if value and value not in list(Think):
            raise UsageError(f"think must be one of {', '.join(Think)}, not `{value}`")
        talk.think = Think(value) if value else talk.think
        talk.screen.rows([(name, talk.think.value)])
        return
    if value and value not in ("on", "off"):
        raise UsageError(f"markdown must be on or off, not `{value}`")
    talk.markdown = value == "on" if value else talk.markdown
    talk.screen.rows([(name, "on" if talk.markdown else "off")])


def _complete_persona(_talk: Talk, begun: str) -> Iterable[str]:
    return [name for name in persona_names() if name.startswith(begun)]


def _complete_set(_talk: Talk, begun: str) -> Iterable[str]:
    name, space, value = begun.partition(" ")
    if not space:
        flags = [*(setting.flag for setting in SAMPLING_SETTINGS.values()), *_VIEW_SETTINGS]
        return [f"{flag} " for flag in flags if flag.startswith(name.replace("_", "-"))]
    values: dict[str, list[str]] = {"think": list(Think), "markdown": ["on", "off"]}
    return [f"{name} {each}" for each in values.get(name, ["default"]) if each.startswith(value)]


SETTING_COMMANDS = (
    Command("system", "[TEXT|@FILE]", "show or change the system prompt; `-` removes it", system),
    Command("persona", "[NAME]", "take a persona's system prompt", persona,
            _complete_persona),
    Command("set", "[OPTION VALUE]", "change a sampling option, or list them", set_option, _complete_set),
    Command("show", "", "list the settings and where each comes from", show),
    Command("stats", "", "tell how fast the last answer was", stats),
    Command("tokens", "[TEXT]", "tell how full the context is, or count a text", tokens),
)  # fmt: skip
