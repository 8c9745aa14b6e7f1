"""Measures several files of one model side by side: size, speed, memory, quality, answers; and what follows.

`measurement` is what comes out, and what others need to know. `run` goes through the files, cheap things
first, each in a child process, so that a crash costs one row and peak memory is that file's alone;
`kept_figures` remembers what was measured, `history` the results, `advice` says what they allow to say.
"""

from localllm.comparison.measurement import (
    Advice,
    ComparisonResult,
    GreedyAnswer,
    Machine,
    Measurement,
    Settings,
    Speed,
    TaskScore,
    Uncertain,
)

__all__ = [
    "Advice",
    "ComparisonResult",
    "GreedyAnswer",
    "Machine",
    "Measurement",
    "Settings",
    "Speed",
    "TaskScore",
    "Uncertain",
]
