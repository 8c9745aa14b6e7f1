"""What `localllm compare` takes, and what of it does not go together; refused before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from localllm.cli.completion import complete_level, complete_model
from localllm.errors import StorageError, UsageError

ModelsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL...",
        help="A checkpoint, a name in the library, org/repo, or several GGUF files of one model.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
LevelsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--level",
        "-q",
        metavar="LEVEL",
        help="A level to measure, made if missing; repeatable, comma-separated, `recommended` or `all`.",
        show_default="those that are there, else the recommended",
        autocompletion=complete_level,
    ),
]
AgainstOpt = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="What quality is measured against.",
        show_default="the most precise one, else the 16-bit model, made for that",
        autocompletion=complete_model,
    ),
]
TextsOpt = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Text to measure quality on; repeatable.",
        show_default="the model's eval.txt, else a built-in sample",
    ),
]
ChatFormatOpt = Annotated[
    bool,
    typer.Option("--chat-format", help="Measure quality on the text as a chat, in the model's template."),
]
ChunksOpt = Annotated[
    int | None,
    typer.Option(
        min=1, help="Windows of text to evaluate at most.", show_default="until levels are told apart"
    ),
]
MinutesOpt = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=100_000, help="Stop evaluating after so many minutes.", show_default="no limit"
    ),
]
WindowOpt = Annotated[
    int, typer.Option("--context", min=32, max=2**20, help="Tokens in a window of the text.")
]
RepetitionsOpt = Annotated[int, typer.Option(min=1, max=1000, help="Repetitions of each speed test.")]
PromptTokensOpt = Annotated[int, typer.Option(min=1, max=2**20, help="Tokens read in a speed test.")]
GeneratedTokensOpt = Annotated[int, typer.Option(min=1, max=2**20, help="Tokens generated in a speed test.")]
DepthOpt = Annotated[int, typer.Option(min=0, max=2**20, help="Tokens in the context before a speed test.")]
PromptsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", metavar="TEXT", help="Show each level's answer to this; repeatable.", show_default=False
    ),
]
TasksOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--task",
        metavar="FILE",
        help="Questions with the answers expected (JSON lines): the share right is measured; repeatable.",
        show_default=False,
    ),
]
MaxLossOpt = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="For the advice: the share of tokens that may change, with a KL divergence to match.",
        show_default="0.05, and 0.03",
    ),
]
HtmlOpt = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a page with plots, readable offline.", show_default=False
    ),
]
PngOpt = Annotated[
    Path | None,
    typer.Option("--png", metavar="FILE", help="Write the plots as an image.", show_default=False),
]


class Format(StrEnum):
    """What goes to standard output."""

    TEXT = "text"
    CSV = "csv"
    MARKDOWN = "markdown"
    JSON = "json"


def output_format(*, csv: bool, markdown: bool, json: bool) -> Format:
    """Return the one format that was asked for. Raise UsageError for several."""
    asked = [form for form, wanted in zip(list(Format)[1:], (csv, markdown, json), strict=True) if wanted]
    if len(asked) > 1:
        names = " and ".join(f"`--{form}`" for form in asked)
        raise UsageError(f"{names} exclude each other", hint="ask for one of them")
    return asked[0] if asked else Format.TEXT


def require_sensible(
    *,
    models: Sequence[str],
    max_loss: float | None,
    quality: bool,
    needs_quality: dict[str, bool],
    html: Path | None,
    png: Path | None,
) -> None:
    """Raise UsageError or StorageError for what could only fail after everything was measured."""
    if not models:
        raise UsageError("no model to compare", hint="for example `localllm compare demo -q recommended`")
    if max_loss is not None and not 0 < max_loss < 1:  # also refuses NaN
        raise UsageError(
            f"`--max-loss {max_loss:g}` is no share between 0 and 1",
            hint="0.05 allows every twentieth token another most probable one",
        )
    useless = [name for name, given in needs_quality.items() if given]
    if not quality and useless:
        raise UsageError(
            f"`{useless[0]}` needs the quality that `--no-quality` leaves out", hint="leave one out"
        )
    if html and png and html.absolute() == png.absolute():
        raise UsageError(f"`--html` and `--png` name one file, {html}", hint="give them two names")
    for option, path in (("--html", html), ("--png", png)):
        if path is not None:
            _require_writable(option, path, models)


def require_only_history(models: Sequence[str], others: dict[str, bool]) -> None:
    """Raise UsageError for what `--history` has no use for."""
    if len(models) > 1:
        raise UsageError("`--history` is of one model, or of all", hint="name one, or none")
    given = [name for name, is_given in others.items() if is_given]
    if given:
        raise UsageError(f"`{given[0]}` has no meaning with `--history`", hint="`--history` lists past runs")


def _require_writable(option: str, path: Path, models: Sequence[str]) -> None:
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint=f"name a file after `{option}`")
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for `{option}`", hint="make it first")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file", hint=f"name a file after `{option}`")
    if not os.access(folder, os.W_OK):
        raise StorageError(f"cannot write into {folder}", hint=f"name another place after `{option}`")
    if path.exists() and any(Path(model).exists() and path.samefile(model) for model in models):
        raise UsageError(f"{path} is a model to compare", hint=f"name another file after `{option}`")
