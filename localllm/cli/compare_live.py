"""The table of a comparison while it is being measured: it fills in, and below it is what runs now.

On stderr and only on a terminal. It is redrawn twice a second, because the processors are being measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localllm.cli.progress import ProgressView
from localllm.control_filter import clean
from localllm.events import Event, Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from localllm.comparison.measurement import Measurement
    from localllm.report.columns import TextTable

_REDRAWN_PER_SECOND = 2
_PENDING = "…"
_STEP, _ROW = "compare", "measurement"


class ComparisonView(ProgressView):
    """The bars of what runs, below a table of what was found so far."""

    def __init__(self, *, visible: bool) -> None:
        super().__init__(visible=visible)
        self._rows: dict[str, Measurement] = {}

    def show(self, event: Event) -> None:
        """Update the table or the bars with an event."""
        if isinstance(event, Found):
            if self._visible and (event.step, event.what) == (_STEP, _ROW):
                self._keep(event.data)
                self._started().refresh()
        else:
            super().show(event)

    def _keep(self, data: dict[str, Any]) -> None:
        from localllm.comparison.data import from_data
        from localllm.comparison.measurement import Measurement

        row = from_data(Measurement, data)
        self._rows[row.path] = row

    def _new_bars(self) -> Any:
        from rich.progress import Progress

        from localllm.cli.progress_bars import new_bars

        table = _Table(self._rows)

        class TableAndBars(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield table
                yield from super().get_renderables()

        return new_bars(TableAndBars, _REDRAWN_PER_SECOND)


class _Table:
    """Draws the rows as far as they are known, in the width there is."""

    def __init__(self, rows: Mapping[str, Measurement]) -> None:
        self._rows = rows

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._rows:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        from localllm.report.columns import MISSING

        rows = list(self._rows.values())
        found = _fitting(rows, options.max_width)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for index, heading in enumerate(found.headings):
            lines = heading.replace(" ", "\n")  # as `table_width` counts it
            table.add_column(Text(lines), justify="right" if index else "left", no_wrap=True)
        for row, cells in zip(rows, found.rows, strict=True):
            is_done = row.is_reference and row.perplexity is not None  # it has no distance from itself
            waiting = Text(MISSING if is_done else _PENDING, "dim")
            missing = Text("failed", "red") if row.error else waiting
            table.add_row(*(missing if cell == MISSING else Text(clean(cell)) for cell in cells))
        yield table
        yield Text("")


def _fitting(rows: list[Measurement], width: int) -> TextTable:
    """Return what is known as a table: everything, or the essentials in a narrow terminal."""
    from localllm.report.columns import ESSENTIAL, filled_columns, table_width, text_table

    columns = filled_columns(rows)
    table = text_table(rows, columns)
    if table_width(table) <= width:
        return table
    return text_table(rows, [column for column in columns if column.name in ESSENTIAL])
