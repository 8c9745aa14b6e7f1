"""The whole way once, on the model that ships with localllm: convert, quantize, compare, ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from localllm.benchmark import GENERATED_TOKENS, PROMPT_TOKENS
from localllm.comparison import ComparisonResult
from localllm.comparison.quality import Limits, Text
from localllm.comparison.run import compare_files
from localllm.comparison.subject import subject_of
from localllm.comparison.wishes import SpeedSettings, Wishes
from localllm.conversion.convert import ConversionResult, convert
from localllm.engine import Chunk, LlamaEngine, SamplingOptions
from localllm.errors import NotFoundError
from localllm.evaluation import DEFAULT_CONTEXT
from localllm.events import Emit, ignore
from localllm.machine import usable_cores
from localllm.pipeline import quantize_model
from localllm.quantization.levels import parse_levels
from localllm.quantization.quantize import QuantizationResult
from localllm.store import DEMO, shipped_checkpoint

LEVELS = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")
QUESTIONS = ("What is inside a GGUF file?", "Which level should I choose, Q4_K or Q8_0?")
_ANSWER_LEVEL = "Q8_0"
_REPETITIONS = 3
_MAX_ANSWER_TOKENS = 120


@dataclass(frozen=True)
class Asked:
    """A question and its answer as it is generated; the answer must be consumed before the next stage."""

    question: str
    answer: Iterator[Chunk]


Stage = ConversionResult | list[QuantizationResult] | ComparisonResult | Asked


def run_demo(directory: Path, *, emit: Emit = ignore) -> Iterator[Stage]:
    """Make everything in `directory` and yield each stage's result as soon as it is there."""
    checkpoint = demo_checkpoint()
    converted = convert(checkpoint, output=directory / "demo-BF16.gguf", emit=emit)
    yield converted
    targets = [(level, directory / f"demo-{level.name}.gguf") for level in parse_levels(LEVELS)]
    made = quantize_model(converted.path, targets, emit=emit)
    yield made
    yield _compared([result.path for result in made], converted.path, checkpoint, emit)
    with LlamaEngine(directory / f"demo-{_ANSWER_LEVEL}.gguf") as engine:
        options = SamplingOptions(temperature=0.0, max_tokens=_MAX_ANSWER_TOKENS)
        for question in QUESTIONS:
            yield Asked(question, engine.stream([{"role": "user", "content": question}], options))


def demo_checkpoint() -> Path:
    """Return the checkpoint that ships with localllm. Raise NotFoundError when the installation lost it."""
    checkpoint = shipped_checkpoint(DEMO)
    if checkpoint is None:
        raise NotFoundError(
            "the demo model is missing from this installation",
            hint="install localllm again, with its package data",
        )
    return checkpoint


def _compared(paths: Sequence[Path], reference: Path, checkpoint: Path, emit: Emit) -> ComparisonResult:
    """Compare the levels with the converted file. It does not enter the history: the files will be gone."""
    subjects = [subject_of(path, emit=emit) for path in (*paths, reference)]
    wishes = Wishes(
        threads=usable_cores(),
        speed=SpeedSettings(_REPETITIONS, PROMPT_TOKENS, GENERATED_TOKENS, depth=0),
        measures_speed=True,
        text=Text((checkpoint / "eval.txt",), "model", chat_format=False, context_size=DEFAULT_CONTEXT),
        limits=Limits(),
    )
    return compare_files(DEMO, checkpoint, subjects, subjects[-1], wishes, enters_history=False, emit=emit)
