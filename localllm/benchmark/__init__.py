"""How fast a model reads and writes, measured as llama-bench does, and how long it takes to load.

`speed` runs the tests, `loading` loads the file, `spread` says what some repetitions allow to say; `job` is
all of it for a child process, with the memory it took.
"""

from localllm.benchmark.spread import Doubt, Spread, clearly_apart, doubt_about, spread_of

GENERATED_TOKENS = 128
PROMPT_TOKENS = 512
REPETITIONS = 5

__all__ = [
    "GENERATED_TOKENS",
    "PROMPT_TOKENS",
    "REPETITIONS",
    "Doubt",
    "Spread",
    "clearly_apart",
    "doubt_about",
    "spread_of",
]
