"""A comparison as Markdown for a model card. What comes from models and files cannot become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable

from localllm.comparison.measurement import ComparisonResult
from localllm.report import words
from localllm.report.answers import Answered, answered
from localllm.report.columns import MISSING, TextTable, filled_columns, row_labels, text_table
from localllm.report.plain_text import plain
from localllm.report.tasks import task_table

# an underscore inside a word is none of Markdown's marks: Q4_K_M stays readable
_MARKS = re.compile(r"[\\`*\[\]<>#|~&$]|(?<!\w)_|_(?!\w)|^[-+=]")
_NUMBERED = re.compile(r"^(\d{1,9})(?=[.)]\s)")  # would begin a list
# what GitHub makes links of: http://…, www.…, name@…
_LINKS = re.compile(r"(?i)(?P<colon>:)(?=//)|(?<=\bwww)(?P<dot>\.)|(?<=\w)(?P<at>@)(?=\w)")
_ENTITIES = {":": "&#58;", ".": "&#46;", "@": "&#64;", "<": "&lt;", "&": "&amp;"}


def escape(text: str) -> str:
    """Return text as one line of Markdown that shows exactly it, also in a table's cell."""
    line = " ".join(plain(text).split())
    marked = _MARKS.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), line)
    numbered = _NUMBERED.sub(r"\1\\", marked)
    return _LINKS.sub(lambda match: _ENTITIES[match[0]], numbered)


def to_markdown(result: ComparisonResult) -> str:
    """Return the table, how it was measured, and what follows from it; ends with a line break."""
    rows = result.measurements
    parts = [markdown_table(text_table(rows, filled_columns(rows)))]
    parts.extend(f"{escape(label)} failed: {escape(reason)}" for label, reason in words.failures(result))
    tasks = task_table(result)
    if tasks:
        parts.append("Questions answered right, with 95 % intervals:")
        parts.append(markdown_table(tasks))
    if result.advice.sentences:
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in result.advice.sentences))
    parts.extend(_answers(prompt) for prompt in answered(result))
    parts.append(_small_print(result))
    return "\n\n".join(parts) + "\n"


def markdown_table(table: TextTable) -> str:
    """Return a table, its numbers aligned right."""
    rule = ["---", *["---:"] * (len(table.headings) - 1)]
    lines = [["–" if cell == MISSING else escape(cell) for cell in row] for row in table.rows]
    return "\n".join(_row(cells) for cells in (map(escape, table.headings), rule, *lines))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _answers(prompt: Answered) -> str:
    lines = [
        f"Answers to “{escape(prompt.prompt)}” (temperature 0; **▸** marks where one departs from the "
        "reference's):",
        "",
        "| level | answer |",
        "|---|---|",
    ]
    for answer in prompt.answers:
        mark = " **▸** " if answer.own or answer.departs_at is not None else ""
        names = ", ".join(map(escape, answer.labels))
        lines.append(f"| {names} | {escape(answer.common)}{mark}{escape(answer.own)} |")
    return "\n".join(lines)


def _small_print(result: ComparisonResult) -> str:
    """Return how it was measured, with what a plus-minus sign and each figure stand for."""
    settings = result.settings
    sentences = [
        f"Measured with {escape(words.versions(result.machine))} "
        f"on {escape(words.machine_line(result.machine))}."
    ]
    if any(row.generation_tokens_per_second for row in result.measurements):
        sentences.append(f"Speed: {words.speed_settings(settings)}.")
    quality = words.quality_settings(settings)
    if quality:
        against = _reference(result)
        sentences.append(f"Quality{against}: {escape(quality)}; ± is one standard error.")
    sentences.extend(escape(words.sentence(note)) for note in result.notes)
    return f"<sub>{' '.join(sentences)}</sub>"


def _reference(result: ComparisonResult) -> str:
    labels = row_labels(result.measurements)
    names = [label for label, row in zip(labels, result.measurements, strict=True) if row.is_reference]
    return f" against {escape(names[0])}" if names else ""
