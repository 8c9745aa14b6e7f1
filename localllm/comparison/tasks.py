"""Questions with a right answer, one JSON object a line, and the share that is answered right.

A question is `{"prompt": TEXT}` or `{"messages": [{"role": …, "content": …}]}`, and either `"expect"`, a
regular expression that is looked for in the greedy answer, case aside, or `"choices"`, a list of texts, and
`"answer"`, the right one or its index. Of choices the model takes the one it holds for the most probable
answer, by the sum of the log-likelihoods of its tokens behind the prompt; nothing is generated. `"kind"`
groups questions, `"max_tokens"` is the longest answer (128). Other fields are left alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localllm.comparison.measurement import TaskScore
from localllm.errors import NotFoundError, StorageError, UsageError
from localllm.evaluation.uncertain import NORMAL_975

MAX_TOKENS = 128
_HINT = (
    'a line is like {"prompt": "What is 2 + 2?", "expect": "\\\\b4\\\\b"} '
    'or {"prompt": …, "choices": ["3", "4"], "answer": "4"}'
)


@dataclass(frozen=True)
class Question:
    """What to ask, and what is right: where `expect` is found, or the index `right` of `choices`."""

    messages: tuple[tuple[str, str], ...]
    expect: re.Pattern[str] | None
    choices: tuple[str, ...]
    right: int
    kind: str
    max_tokens: int

    def asked(self) -> dict[str, Any]:
        """Return what a model is asked, as JSON has it; not what is right."""
        return {
            "messages": [{"role": role, "content": content} for role, content in self.messages],
            "choices": list(self.choices),
            "max_tokens": self.max_tokens,
        }

    def is_right(self, answer: str | int) -> bool:
        """Tell whether an answer, of choices the index taken, is right."""
        if self.expect is None:
            return answer == self.right
        return isinstance(answer, str) and self.expect.search(answer) is not None


@dataclass(frozen=True)
class Task:
    """A file of questions; `name` is that of the file, without its suffix."""

    name: str
    questions: tuple[Question, ...]


def read_task(path: Path) -> Task:
    """Read a task file. Raise NotFoundError, StorageError, or UsageError naming the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}", hint="`--task` takes a JSONL file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8", hint=_HINT) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    questions = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                questions.append(_question(line))
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: {error}", hint=_HINT) from None
    if not questions:
        raise UsageError(f"{path} holds no questions", hint=_HINT)
    return Task(path.stem, tuple(questions))


def score(task: Task, answers: Sequence[str | int]) -> TaskScore:
    """Return how many questions were answered right, also by kind where there are several."""
    right = [question.is_right(answer) for question, answer in zip(task.questions, answers, strict=True)]
    kinds = list(dict.fromkeys(question.kind for question in task.questions))
    by_kind = []
    if any(kinds):
        for kind in kinds:
            of_kind = [
                good for good, question in zip(right, task.questions, strict=True) if question.kind == kind
            ]
            by_kind.append(_score(kind or "other", of_kind))
    return _score(task.name, right, by_kind)


def wilson_bounds(right: int, total: int) -> tuple[float, float]:
    """Return the bounds of a 95 % interval for a share (Wilson, 1927), within 0 and 1."""
    if total == 0:
        return 0.0, 1.0
    share, square = right / total, NORMAL_975**2
    middle = share + square / (2 * total)
    reach = NORMAL_975 * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    low, high = ((middle + sign * reach) / (1 + square / total) for sign in (-1, 1))
    return (max(0.0, low) if right else 0.0), (min(1.0, high) if right < total else 1.0)


def _score(name: str, right: Sequence[bool], kinds: Iterable[TaskScore] = ()) -> TaskScore:
    low, high = wilson_bounds(sum(right), len(right))
    return TaskScore(name, sum(right), len(right), low, high, tuple(kinds))


def _question(line: str) -> Question:
    """Read a line. Raise ValueError with what is wrong."""
    try:
        data = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    expect, choices = data.get("expect"), data.get("choices")
    if (expect is None) == (choices is None):
        raise ValueError("it needs either `expect` or `choices` with `answer`")
    return Question(
        messages=_messages(data),
        expect=None if expect is None else _pattern(expect),
        choices=() if choices is None else _choices(choices),
        right=-1 if choices is None else _right(data.get("answer"), _choices(choices)),
        kind=_text(data.get("kind", ""), "kind"),
        max_tokens=_count(data.get("max_tokens", MAX_TOKENS)),
    )


def _messages(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if ("prompt" in data) == ("messages" in data):
        raise ValueError("it needs either `prompt` or `messages`")
    if "prompt" in data:
        return (("user", _text(data["prompt"], "prompt")),)
    messages = data["messages"]
    if not isinstance(messages, list) or not messages:
        raise ValueError("`messages` must be a list of at least one message")
    found = []
    for message in messages:
        if not isinstance(message, dict):
            raise ValueError("a message must be an object with `role` and `content`")
        found.append((_text(message.get("role"), "role"), _text(message.get("content"), "content")))
    return tuple(found)


def _pattern(expect: Any) -> re.Pattern[str]:
    try:
        return re.compile(_text(expect, "expect"), re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"`expect` is no regular expression: {error}") from None


def _choices(choices: Any) -> tuple[str, ...]:
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError("`choices` must be a list of at least two texts")
    found = tuple(_text(choice, "choices") for choice in choices)
    if len(set(found)) != len(found) or not all(found):
        raise ValueError("`choices` must be different texts, none of them empty")
    return found


def _right(answer: Any, choices: Sequence[str]) -> int:
    if isinstance(answer, str) and answer in choices:
        return choices.index(answer)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    raise ValueError("`answer` must be one of `choices`, or its index from 0")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise ValueError("`max_tokens` must be a whole number of at least 1")
    return value
