"""How a bar looks: what runs, how far it is, and for bytes how fast they come and how long it will take."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from localllm.units import format_bytes

_NAME_WIDTH = 30


def new_bars(kind: type[Progress] = Progress, refresh_per_second: float = 10) -> Progress:
    """Return bars on stderr; a task's fields are `unit` and `detail`."""
    return kind(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        _Pace(),
        TextColumn("{task.fields[detail]}", style="dim", markup=False),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=refresh_per_second,
    )


def shortened(name: str) -> str:
    """Return the end of a long name: that is where files of a model differ."""
    return name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"


class _Pace(ProgressColumn):
    """Bytes per second and the time left; of other units the time gone."""

    def render(self, task: Task) -> Text:
        if task.fields["unit"] != "bytes" or task.finished_speed or not task.speed:
            return Text(_clock(task.elapsed or 0), style="progress.elapsed")
        left = task.time_remaining
        pace = f"{format_bytes(task.speed)}/s"
        return Text(f"{pace} {_clock(left)} left" if left is not None else pace, style="progress.remaining")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
