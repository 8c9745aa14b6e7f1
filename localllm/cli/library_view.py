"""What is on this machine, for people: lists, what would go, where a model comes from, what a check found."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from localllm.cli.output import Output
from localllm.errors import UsageError
from localllm.units import format_bytes

if TYPE_CHECKING:
    from localllm.cli.facts import Section
    from localllm.library.entries import Entry, Listing
    from localllm.library.leftovers import CleaningResult, Leftovers
    from localllm.library.provenance import Made
    from localllm.library.removal import Removal, RemovalPlan
    from localllm.library.showing import Shown
    from localllm.library.verification import FileCheck, VerificationResult
    from localllm.verbs.library import ModelCard

_LAYOUTS = (  # the columns, and with which ones a narrow terminal makes do
    ("name", "level", "size", "architecture", "context", "last used", "source"),
    ("name", "size", "architecture", "context", "last used", "source"),
    ("name", "size", "arch", "context", "last used", "source"),
    ("name", "size", "arch", "context", "last used"),
    ("name", "size", "arch", "last used"),
    ("name", "size", "last used"),
)
_NUMERIC = ("size", "context")
_LISTED_PATHS = 8
_AGES = ((365, "year"), (30, "month"), (7, "week"), (1, "day"))


def show_listing(out: Output, listing: Listing, pattern: str | None) -> None:
    """Print what is here as a table; a narrow terminal gets fewer columns, the name is always whole."""
    out.data(listing.entries)
    if listing.entries:
        now = datetime.now(UTC)
        rows = [_row(entry, now) for entry in listing.entries]
        columns = _fitting(rows)
        chosen = [[row[column] for column in columns] for row in rows]
        out.table(columns, chosen, numeric=_NUMERIC)
    elif pattern:
        out.status(f"nothing here is called like `{pattern}`; `localllm list` shows what there is")
    else:
        out.status("there are no models yet; `localllm pull` and `localllm demo` show how to get some")
    if listing.incomplete:
        count, first = len(listing.incomplete), listing.incomplete[0]
        what = f"{count} models are" if count > 1 else f"{first} is"
        again = f"`localllm pull {first}` downloads the rest; " if "/" in first else ""
        out.notice(f"{what} incomplete and not listed", f"{again}`localllm rm {first}` removes what is here")


def relative_time(then: str | None, now: datetime) -> str:
    """Return how long ago a time in ISO 8601 was, in one unit; "never" for None."""
    if then is None:
        return "never"
    seconds = (now - datetime.fromisoformat(then)).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86_400:
        return _ago(int(seconds // 3600), "hour")
    days = int(seconds // 86_400)
    length, unit = next((length, unit) for length, unit in _AGES if days >= length)
    return _ago(days // length, unit)


def confirm(plan: RemovalPlan) -> bool:
    """Show what would go and ask. Raise UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing is removed without asking, and there is no terminal to ask on",
            hint="add `--yes`, or `--dry-run` to see what would go",
        )
    for line in _plan_lines(plan.removals):
        typer.echo(line, err=True)
    return typer.confirm(f"Remove this and free {format_bytes(plan.size_bytes)}?", err=True)


def show_plan(out: Output, plan: RemovalPlan) -> None:
    """Print what would go."""
    out.data(_plan_data(plan.removals, plan.size_bytes, dry_run=True))
    for line in _plan_lines(plan.removals):
        out.text(line)
    out.status(f"this would free {format_bytes(plan.size_bytes)}; nothing was removed")


def show_removed(out: Output, plan: RemovalPlan, freed_bytes: int) -> None:
    """Print what is gone."""
    out.data(_plan_data(plan.removals, freed_bytes, dry_run=False))
    for removal in plan.removals:
        out.text(f"removed {removal.name}{f' ({removal.note})' if removal.note else ''}")
    out.status(f"freed {format_bytes(freed_bytes)}")


def confirm_leftovers(found: Leftovers) -> bool:
    """Ask before unfinished downloads go. Raise UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError(
            "unfinished downloads are not removed without asking, and there is no terminal to ask on",
            hint="add `--yes`, or `--dry-run` to see what would go",
        )
    return typer.confirm(
        f"Remove {len(found.removable)} leftovers, also downloads that `localllm pull` could go on with, "
        f"and free {format_bytes(found.size_bytes)}?",
        err=True,
    )


def show_leftovers(out: Output, found: Leftovers) -> None:
    """Print what was left behind."""
    items = [_leftover_data(leftover) for leftover in found.removable]
    out.data({"dry_run": True, "items": items, "freed_bytes": found.size_bytes})
    rows = [(format_bytes(each.size_bytes), each.what, str(each.path)) for each in found.removable]
    if rows:
        out.table(("size", "what", "path"), rows, numeric=("size",))
    out.status(f"this would free {format_bytes(found.size_bytes)}; nothing was removed")
    if found.kept:
        out.status(f"{format_bytes(found.kept_bytes)} of unfinished downloads would stay")


def show_cleaned(out: Output, found: Leftovers, result: CleaningResult) -> None:
    """Print what was cleaned away."""
    gone = [leftover for leftover in found.removable if leftover.path in result.removed]
    items = [_leftover_data(leftover) for leftover in gone]
    out.data({"dry_run": False, "items": items, "freed_bytes": result.freed_bytes})
    for leftover in gone:
        out.text(f"removed {leftover.path} ({leftover.what}, {format_bytes(leftover.size_bytes)})")
    out.status(f"freed {format_bytes(result.freed_bytes)}" if gone else "there is nothing to clean up")


def show_model(out: Output, card: ModelCard) -> None:
    """Print where a model is and comes from, then what it says of itself."""
    from localllm.cli.facts import print_sections
    from localllm.cli.inspection_view import show_description

    out.data(card)
    if out.as_json:
        return
    print_sections(out, [_place(card.model)])
    if card.description is not None:
        out.text("")
        show_description(out, card.description)


def show_verification(out: Output, result: VerificationResult) -> int:
    """Print what a check found, a line for each model, and return the exit status: 1 for what is wrong."""
    out.data({"files": result.files, "wrong": len(result.wrong)})
    by_model: dict[str, list[FileCheck]] = {}
    for check in result.files:
        by_model.setdefault(check.model, []).append(check)
    rows = [(_worst(checks), str(len(checks)), _read(checks), name) for name, checks in by_model.items()]
    if rows:
        out.table(("status", "files", "size", "model"), rows, numeric=("files", "size"))
    for check in result.files:
        if check.status != "ok":
            out.text(f"{check.status}: {check.path}: {check.detail}")
    written = sum(check.is_recorded for check in result.files)
    if written:
        out.status(f"{written} checksums were written down, to be compared the next time")
    wrong = result.wrong
    if not wrong:
        out.status(f"checked {len(result.files)} files, {_read(result.files)}: all are as they should be")
        return 0
    out.notice(f"{len(wrong)} of {len(result.files)} files are damaged or changed", _advice(wrong), "error")
    return 1


# parts of these -----------------------------------------------------------------------------


def _row(entry: Entry, now: datetime) -> dict[str, str]:
    architecture = _one_word(entry.problem) if entry.problem else entry.architecture or "-"
    return {
        "name": entry.name,
        "level": entry.level or (entry.kind if entry.kind != "model" else "-"),
        "size": format_bytes(entry.size_bytes),
        "architecture": architecture,
        "arch": architecture,
        "context": _context(entry.context_length),
        "last used": relative_time(entry.last_used, now),
        "source": entry.source,
    }


def _one_word(problem: str) -> str:
    return problem.partition(":")[0]


def _context(tokens: int | None) -> str:
    if tokens is None:
        return "-"
    return f"{tokens // 1024}K" if tokens >= 1024 and tokens % 1024 == 0 else str(tokens)


def _fitting(rows: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """Return the columns that fit into the terminal; all of them where there is none."""
    if not sys.stdout.isatty():
        return _LAYOUTS[0]
    width = shutil.get_terminal_size().columns
    return next((columns for columns in _LAYOUTS if _width(columns, rows) <= width), _LAYOUTS[-1])


def _width(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> int:
    return sum(2 + max(len(text) for text in (name, *(row[name] for row in rows))) for name in columns)


def _ago(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count > 1 else ''} ago"


def _plan_lines(removals: Iterable[Removal]) -> Iterable[str]:
    for removal in removals:
        note = f"; {removal.note}" if removal.note else ""
        yield f"{removal.name}  {format_bytes(removal.size_bytes)}{note}"
        paths = [path for path in _paths(removal) if path not in removal.blobs]
        yield from (f"  {path}" for path in paths[:_LISTED_PATHS])
        if len(paths) > _LISTED_PATHS:
            yield f"  and {len(paths) - _LISTED_PATHS} more"


def _paths(removal: Removal) -> list[Path]:
    """Return what goes: of a folder that goes whole the folder alone."""
    single = [*removal.links, *removal.blobs]
    inside = [path for path in single if any(folder in path.parents for folder in removal.folders)]
    return [*removal.folders, *(path for path in single if path not in inside)]


def _plan_data(removals: Iterable[Removal], freed_bytes: int, *, dry_run: bool) -> dict[str, Any]:
    items = [
        {
            "name": removal.name,
            "size_bytes": removal.size_bytes,
            "paths": _paths(removal),
            "note": removal.note,
        }
        for removal in removals
    ]
    return {"dry_run": dry_run, "items": items, "freed_bytes": freed_bytes}


def _leftover_data(leftover: Any) -> dict[str, Any]:
    return {"path": leftover.path, "what": leftover.what, "size_bytes": leftover.size_bytes}


def _place(model: Shown) -> Section:
    """Return where a model is and where it comes from, what is not known left out."""
    from localllm.cli.facts import Fact, Section

    entry, made, origin = model.entry, model.made, model.origin
    revisions = f" ({', '.join(origin.revisions)})" if origin and origin.revisions else ""
    versions = {"localllm": model.localllm, "llama-cpp-python": model.llama_cpp}
    facts = [
        ("source", entry.source),
        ("last used", relative_time(entry.last_used, datetime.now(UTC))),
        ("problem", entry.problem or ""),
        ("repository", origin.repo if origin else ""),
        ("commit", f"{origin.commit}{revisions}" if origin else ""),
        *(_making(made) if made else []),
        ("with", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("when", model.recorded_at or ""),
        ("directory", str(entry.path) if entry.path.is_dir() else ""),
        *_files(model),
    ]
    return Section(entry.name, [Fact(label, value) for label, value in facts if value])


def _making(made: Made) -> list[tuple[str, str]]:
    return [
        ("made by", f"localllm {made.command}"),
        ("from", made.source),
        ("adapters", ", ".join(made.adapters)),
        ("options", ", ".join(f"{name}={value}" for name, value in made.options.items())),
        ("imatrix", made.imatrix or ""),
    ]


def _files(model: Shown) -> Iterable[tuple[str, str]]:
    """Yield the files with their checksums; of a directory those that have one."""
    is_directory = model.entry.path.is_dir()
    files = [file for file in model.files if file.sha256 or not is_directory]
    for file in files[:_LISTED_PATHS]:
        yield "file", file.path.name if is_directory else str(file.path)
        yield "sha256", file.sha256 or ""
    if len(files) > _LISTED_PATHS:
        yield "and", f"{len(files) - _LISTED_PATHS} more files"


def _worst(checks: Iterable[FileCheck]) -> str:
    found = {str(check.status) for check in checks}
    return next(status for status in ("damaged", "changed", "unknown", "ok") if status in found)


def _read(checks: Iterable[FileCheck]) -> str:
    return format_bytes(sum(check.size_bytes for check in checks))


def _advice(wrong: Sequence[FileCheck]) -> str:
    """Return what to do: pulled models are pulled again, others made again."""
    pulled = next((check.model for check in wrong if check.is_pulled), None)
    if pulled is not None:
        return f"`localllm rm {pulled}`, then `localllm pull {pulled}`"
    return f"`localllm rm {wrong[0].model}`, then make or download it again"
