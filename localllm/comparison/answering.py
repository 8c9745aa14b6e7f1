"""What a child process lets a model answer: prompts, and the questions of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localllm.comparison.choosing import choose
from localllm.engine import Engine, EngineOptions, LlamaEngine, SamplingOptions
from localllm.events import Advanced, Emit, Finished, Started

_ANSWERS, _QUESTIONS = "answer", "questions"


def answers_job(arguments: dict[str, Any], emit: Emit) -> list[dict[str, Any]]:
    """Let the model at `path` answer `prompts` greedily, with at most `max_tokens` each.

    Its chat template is used where it has one, else it continues the text. For each prompt are returned the
    `pieces` of the answer as they came, one for each token but where a character takes several, and how many
    `tokens` they were.
    """
    prompts = arguments["prompts"]
    found = []
    emit(Started(_ANSWERS, len(prompts), "prompts"))
    with _engine(arguments) as engine:
        for number, prompt in enumerate(prompts, start=1):
            message = {"role": "user", "content": prompt}
            pieces, tokens = _greedy(engine, [message], arguments["max_tokens"])
            found.append({"pieces": pieces, "tokens": tokens})
            emit(Advanced(_ANSWERS, number))
    emit(Finished(_ANSWERS))
    return found


def questions_job(arguments: dict[str, Any], emit: Emit) -> list[str | int]:
    """Let the model at `path` answer `questions`, as `tasks.Question.asked` describes them.

    Return for each the greedy answer, or of choices the index of the one the model holds for most probable.
    """
    questions: list[dict[str, Any]] = arguments["questions"]
    answers: dict[int, str | int] = {}
    emit(Started(_QUESTIONS, len(questions), "questions"))
    open_ones = [index for index, question in enumerate(questions) if not question["choices"]]
    if open_ones:
        with _engine(arguments) as engine:
            for index in open_ones:
                question = questions[index]
                pieces, _ = _greedy(engine, question["messages"], question["max_tokens"])
                answers[index] = "".join(pieces)
                emit(Advanced(_QUESTIONS, len(answers)))
    closed = [index for index in range(len(questions)) if index not in answers]
    if closed:
        pairs = [(questions[index]["messages"], questions[index]["choices"]) for index in closed]
        for index, choice in zip(closed, choose(_path(arguments), pairs, arguments["threads"]), strict=True):
            answers[index] = choice
            emit(Advanced(_QUESTIONS, len(answers)))
    emit(Finished(_QUESTIONS))
    return [answers[index] for index in range(len(questions))]


def _path(arguments: Mapping[str, Any]) -> Path:
    return Path(arguments["path"])


def _engine(arguments: Mapping[str, Any]) -> LlamaEngine:
    return LlamaEngine(_path(arguments), EngineOptions(threads=arguments["threads"]))


def _greedy(engine: Engine, messages: Sequence[Mapping[str, str]], max_tokens: int) -> tuple[list[str], int]:
    """Return the pieces of the most probable answer and the number of its tokens."""
    options = SamplingOptions(temperature=0.0, max_tokens=max_tokens)
    pieces, tokens = [], 0
    for chunk in engine.stream(messages, options):
        if chunk.text:
            pieces.append(chunk.text)
        if chunk.statistics is not None:
            tokens = chunk.statistics.completion_tokens
    return pieces, tokens
