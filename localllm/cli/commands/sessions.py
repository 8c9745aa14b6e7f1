"""`localllm sessions`: the conversations that were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.options import JsonOpt, QuietOpt
from localllm.cli.output import Output
from localllm.errors import UsageError

_DECLINED = 1
_FORMATS = ("markdown", "json", "jsonl")

sessions_app = typer.Typer(help="List, show, search, rename, remove and export saved conversations.")


def complete_session(incomplete: str) -> list[str]:
    """Return the names of sessions that go on from `incomplete`."""
    from localllm.errors import LocalLLMError
    from localllm.sessions import session_files, session_name

    try:
        names = [session_name(path) for path in session_files()]
    except LocalLLMError:
        return []
    return [name for name in names if name.lower().startswith(incomplete.lower())]


NameArg = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A session, by its name, a part that only its name has, or its file.",
        show_default=False,
        autocompletion=complete_session,
    ),
]
NameListArg = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME...", help="Sessions.", show_default=False, autocompletion=complete_session),
]


@sessions_app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@sessions_app.command(name="list")
def list_sessions(json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """List the saved conversations, the latest first."""
    out = Output("sessions list", as_json=json, quiet=quiet)
    from localllm.cli import sessions_view as view
    from localllm.verbs import sessions as verbs

    view.show_list(out, verbs.list_sessions())


@sessions_app.command()
def show(name: NameArg, json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Show a whole conversation."""
    out = Output("sessions show", as_json=json, quiet=quiet)
    from localllm.cli import sessions_view as view
    from localllm.verbs import sessions as verbs

    view.show_session(out, verbs.show_session(name))


@sessions_app.command()
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What was said.", show_default=False)],
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Find messages that contain TEXT, in upper or lower case."""
    out = Output("sessions search", as_json=json, quiet=quiet)
    from localllm.cli import sessions_view as view
    from localllm.verbs import sessions as verbs

    view.show_matches(out, verbs.search_sessions(text, emit=out.emit), text)


@sessions_app.command()
def rename(
    name: NameArg,
    new_name: Annotated[
        str, typer.Argument(metavar="NEW_NAME", help="What to call it from now on.", show_default=False)
    ],
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Give a session another name."""
    out = Output("sessions rename", as_json=json, quiet=quiet)
    from localllm.cli import sessions_view as view
    from localllm.verbs import sessions as verbs

    view.show_renamed(out, name, verbs.rename_session(name, new_name))


@sessions_app.command()
def rm(
    names: NameListArg = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> int:
    """Remove sessions, and what models have read of them."""
    out = Output("sessions rm", as_json=json, quiet=quiet)
    from localllm.cli import sessions_view as view
    from localllm.verbs import sessions as verbs

    if not names:
        raise UsageError("name a session to remove", hint="`localllm sessions list` shows what there is")
    entries = verbs.plan_session_removal(names)
    if not yes and not view.confirm(entries):
        out.status("nothing was removed")
        return _DECLINED
    view.show_removed(out, verbs.remove_sessions(names))
    return 0


@sessions_app.command()
def export(
    names: NameListArg = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="markdown, json (as saved) or jsonl (a line each, to fine-tune on).",
            autocompletion=lambda incomplete: [each for each in _FORMATS if each.startswith(incomplete)],
        ),
    ] = "markdown",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write.", show_default="standard output"
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export every session.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Write conversations as Markdown, JSON or JSON Lines."""
    out = Output("sessions export", as_json=json, quiet=quiet)
    from localllm.cli import sessions_view as view
    from localllm.verbs import sessions as verbs

    result = verbs.export_sessions(
        names or (),
        verbs.parse_format(form),
        everything=everything,
        output=output,
        force=force,
        emit=out.emit,
    )
    view.show_export(out, result)
