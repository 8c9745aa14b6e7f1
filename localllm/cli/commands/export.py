"""`localllm export`: models where other programs look for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from localllm.cli.chat.options import PersonaOpt
from localllm.cli.completion import complete_model
from localllm.cli.options import JsonOpt, ModelArg, QuietOpt
from localllm.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localllm.export.placement import PlacedFile

export_app = typer.Typer(help="Hand a model over to Ollama, LM Studio and others, by link where that works.")

DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Show what would be where; write nothing there.")]


@export_app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@export_app.command()
def ollama(
    model: ModelArg,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The directory.", show_default="beside the library"
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT|@FILE", help="System prompt.", show_default=False),
    ] = None,
    persona: PersonaOpt = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            metavar="FILE|DIR",
            help="A LoRA adapter to use beside the model; repeatable.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ] = None,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Make a directory that `ollama create` takes.

    With the model's files and a Modelfile: chat template, stop texts, sampling and licence of the model.
    The template is translated into Ollama's language and compared with the model's own on ten
    conversations; one that cannot be translated is left out.
    """
    out = Output("export ollama", as_json=json, quiet=quiet)
    from localllm.verbs.export import export_ollama

    result = export_ollama(
        model,
        output=output,
        system=system,
        persona=persona,
        adapters=lora or (),
        dry_run=dry_run,
        emit=out.emit,
    )
    out.data(result)
    if result.has_template:
        out.status(f"the template agrees with the model's own in {result.checked} conversations")
    else:
        out.status(f"no template: {result.problem}")
    for note in result.notes:
        out.status(note)
    _show(out, result.files)
    if result.is_plan:
        out.text(result.text.rstrip("\n"))
        return
    out.text(str(result.modelfile))
    out.status(f'`ollama create {result.name} -f "{result.modelfile}"` takes it')


@export_app.command()
def lmstudio(
    model: ModelArg,
    models_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="LM Studio's folder of models.", show_default="the one LM Studio uses"
        ),
    ] = None,
    publisher: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose model it is.", show_default="the hub's, else localllm"),
    ] = None,
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Put a model where LM Studio finds it.

    As `PUBLISHER/NAME/FILE.gguf` in its folder of models, linked where the disk allows that, else copied.
    Nothing is written over.
    """
    out = Output("export lmstudio", as_json=json, quiet=quiet)
    from localllm.verbs.export import export_lmstudio

    result = export_lmstudio(
        model, models_dir=models_dir, publisher=publisher, dry_run=dry_run, emit=out.emit
    )
    out.data(result)
    _show(out, result.files)
    out.text(str(result.files[0].path))


@export_app.command(name="dir")
def directory(
    model: ModelArg,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The folder.", show_default=False)],
    dry_run: DryRunOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Put the files of a model into a folder.

    Such as `models` of text-generation-webui and KoboldCpp: linked where the disk allows that, else copied.
    Nothing is written over.
    """
    out = Output("export dir", as_json=json, quiet=quiet)
    from localllm.verbs.export import export_directory

    result = export_directory(model, path, dry_run=dry_run, emit=out.emit)
    out.data(result)
    _show(out, result.files)
    out.text(str(result.files[0].path))


def _show(out: Output, files: Sequence[PlacedFile]) -> None:
    from localllm.units import format_bytes

    for file in files:
        out.status(f"{file.path.name}: {file.how}, {format_bytes(file.size_bytes)}")
