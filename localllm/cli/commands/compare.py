"""`localllm compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from localllm.cli import compare_options as options
from localllm.cli.options import JsonOpt, QuietOpt, ThreadsOpt
from localllm.cli.output import Output


def compare(
    models: options.ModelsArg = None,
    level: options.LevelsOpt = None,
    against: options.AgainstOpt = None,
    text: options.TextsOpt = None,
    chat_format: options.ChatFormatOpt = False,
    chunks: options.ChunksOpt = None,
    max_minutes: options.MinutesOpt = None,
    context: options.WindowOpt = 512,
    repetitions: options.RepetitionsOpt = 5,
    prompt_tokens: options.PromptTokensOpt = 512,
    generated_tokens: options.GeneratedTokensOpt = 128,
    depth: options.DepthOpt = 0,
    prompt: options.PromptsOpt = None,
    task: options.TasksOpt = None,
    no_speed: Annotated[bool, typer.Option("--no-speed", help="Do not measure speed.")] = False,
    no_quality: Annotated[bool, typer.Option("--no-quality", help="Do not measure quality.")] = False,
    no_keep: Annotated[
        bool, typer.Option("--no-keep", help="Remove the levels that were made for this.")
    ] = False,
    max_loss: options.MaxLossOpt = None,
    threads: ThreadsOpt = None,
    force: Annotated[bool, typer.Option("--force", help="Measure again what was measured before.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown for a model card instead.")
    ] = False,
    html: options.HtmlOpt = None,
    png: options.PngOpt = None,
    history: Annotated[
        bool, typer.Option("--history", help="List past comparisons, of MODEL or all; measure nothing.")
    ] = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Measure a model's levels side by side and advise.

    Size, load time, memory, speed, and the quality against the most precise one: perplexity, KL
    divergence, how often the most probable token is the same. Levels that are missing are made;
    each is measured in a process of its own. Speeds are tokens per second as llama-bench measures
    them, quality is as llama-perplexity defines it. What was measured is kept: a run that was
    interrupted goes on, and the same again costs nothing.
    """
    from localllm.cli.compare_live import ComparisonView

    out = Output("compare", as_json=json, quiet=quiet, progress=ComparisonView)
    form = options.output_format(csv=csv, markdown=markdown, json=json)
    given = models or []
    writes = {"--csv": csv, "--markdown": markdown, "--html": html is not None, "--png": png is not None}
    if history:
        options.require_only_history(given, writes)
        _show_history(out, given[0] if given else None)
        return
    quality_options = {
        "--text": bool(text),
        "--chat-format": chat_format,
        "--chunks": chunks is not None,
        "--max-minutes": max_minutes is not None,
        "--max-loss": max_loss is not None,
        "--png": png is not None,
    }
    options.require_sensible(
        models=given,
        max_loss=max_loss,
        quality=not no_quality,
        needs_quality=quality_options,
        html=html,
        png=png,
    )
    from localllm.cli import compare_view as view
    from localllm.verbs.compare import compare as compare_models

    result = compare_models(
        given,
        levels=level or (),
        against=against,
        texts=text or (),
        chat_format=chat_format,
        max_chunks=chunks,
        max_minutes=max_minutes,
        context_size=context,
        repetitions=repetitions,
        prompt_tokens=prompt_tokens,
        generated_tokens=generated_tokens,
        depth=depth,
        prompts=prompt or (),
        tasks=task or (),
        speed=not no_speed,
        quality=not no_quality,
        keep=not no_keep,
        max_loss=max_loss,
        threads=threads,
        force=force,
        emit=out.emit,
    )
    view.write_reports(out, result, html, png)  # first: when that fails, JSON is the error alone
    view.show_comparison(out, result, form)
    if result.failed:
        raise typer.Exit(1)


def _show_history(out: Output, model: str | None) -> None:
    from localllm.cli.compare_history import show_history
    from localllm.verbs.compare import history

    show_history(out, history(model), model)
