"""`localllm inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localllm.cli.options import JsonOpt, ModelArg, QuietOpt
from localllm.cli.output import Output

if TYPE_CHECKING:
    from localllm.inspection import ModelDescription


def inspect(
    model: ModelArg,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    kv: Annotated[bool, typer.Option("--kv", help="List all metadata.")] = False,
    key: Annotated[
        str | None, typer.Option(help="Print one metadata value whole.", show_default=False)
    ] = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show what is inside a GGUF file.

    Architecture, size, types, vocabulary, template. Only the header is read, never the weights, and
    llama.cpp is not involved.
    """
    out = Output("inspect", as_json=json, quiet=quiet)
    from localllm.inspection import metadata_values, tensor_descriptions
    from localllm.store import existing_file

    path = existing_file(model)
    if tensors:
        listed = tensor_descriptions(path)
        out.data(listed)
        rows = [
            (t.name, " x ".join(map(str, t.shape)), t.type, str(t.size_bytes), str(t.offset)) for t in listed
        ]
        out.table(("tensor", "shape", "type", "bytes", "offset"), rows, numeric=("bytes", "offset"))
    elif kv or key:
        values = metadata_values(path, key)
        out.data(values)
        for name, value in values.items():
            out.text(str(value) if key else f"{name} = {_one_line(value)}")
    else:
        _show(path, out)


def _show(path: Path, out: Output) -> None:
    from localllm.inspection import inspect as describe

    description = describe(path)
    out.data(description)
    for label, value in _facts(description):
        out.text(f"{label:<16}{value}")
    for problem in description.problems:
        out.notice(problem)


def _facts(d: ModelDescription) -> list[tuple[str, str]]:
    """Return the lines shown for a model, those without a value left out."""
    from localllm.units import format_bytes, format_count

    heads = f"{d.heads} heads, {d.kv_heads} for keys and values" if d.kv_heads else f"{d.heads} heads"
    types = ", ".join(f"{t.type} {t.size_bytes / max(1, d.size_bytes):.0%} ({t.tensors})" for t in d.types)
    template = f"{len(d.chat_template)} characters" if d.chat_template else "none"
    cache = f"{format_bytes(d.cache_bytes)} at {d.cache_context} tokens (f16)" if d.cache_bytes else ""
    facts = [
        ("name", d.name),
        ("architecture", d.architecture),
        ("parameters", format_count(d.parameters)),
        ("level", d.level),
        ("size", format_bytes(d.size_bytes)),
        ("bits per weight", f"{d.bits_per_weight:.2f}"),
        ("tensor types", types),
        ("context", f"{d.context_length} tokens" if d.context_length else ""),
        ("layers", f"{d.layers}, {heads}" if d.layers else ""),
        (
            "vocabulary",
            f"{d.vocabulary_size} tokens ({d.tokenizer}, {d.pre_tokenizer})" if d.vocabulary_size else "",
        ),
        ("chat template", template),
        ("cache", cache),
        ("licence", d.licence),
        ("file", d.path),
    ]
    return [(label, value) for label, value in facts if value]


def _one_line(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= 120 else text[:117] + "..."
