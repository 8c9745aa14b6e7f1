"""Task files: what is read, what is refused and where, and how answers are scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.comparison.asking import QUESTIONS_JOB, ask_together, processes_for
from localllm.comparison.tasks import MAX_TOKENS, read_task, score, wilson_bounds
from localllm.errors import GenerationError, NotFoundError, UsageError
from localllm.events import Advanced, Event
from localllm.native.worker import run_job


def task_file(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_prompts_messages_and_choices(tmp_path: Path) -> None:
    task = read_task(
        task_file(
            tmp_path,
            {"prompt": "2 + 2?", "expect": r"\b4\b", "topic": "ignored"},
            "",
            {"messages": [{"role": "user", "content": "Hi"}], "expect": "hello", "max_tokens": 5},
            {"prompt": "3 + 3?", "choices": ["5", "6"], "answer": "6", "kind": "choice"},
            {"prompt": "1 + 1?", "choices": ["2", "3"], "answer": 0},
        )
    )
    assert task.name == "sums"
    assert [question.right for question in task.questions] == [-1, -1, 1, 0]
    assert task.questions[0].asked() == {
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "choices": [],
        "max_tokens": MAX_TOKENS,
    }
    assert task.questions[1].max_tokens == 5
    assert task.questions[2].kind == "choice"


def test_the_held_out_questions_of_the_demo_are_a_task() -> None:
    task = read_task(Path(__file__).parents[2] / "models" / "demo" / "heldout.jsonl")
    assert len(task.questions) == 412
    assert {question.kind for question in task.questions} == {"fact", "memory"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ("[]", "it is no JSON object"),
        ({"prompt": "x"}, "it needs either `expect` or `choices` with `answer`"),
        ({"prompt": "x", "expect": "y", "choices": ["a", "b"]}, "it needs either `expect` or `choices`"),
        ({"expect": "y"}, "it needs either `prompt` or `messages`"),
        ({"prompt": 3, "expect": "y"}, "`prompt` must be a text"),
        ({"prompt": "x", "expect": "("}, "`expect` is no regular expression"),
        ({"prompt": "x", "expect": None}, "it needs either"),
        ({"messages": [], "expect": "y"}, "`messages` must be a list"),
        ({"messages": ["hi"], "expect": "y"}, "a message must be an object"),
        ({"messages": [{"role": "user"}], "expect": "y"}, "`content` must be a text"),
        ({"prompt": "x", "choices": ["a"], "answer": "a"}, "at least two texts"),
        ({"prompt": "x", "choices": ["a", "a"], "answer": "a"}, "must be different"),
        ({"prompt": "x", "choices": ["a", "b"], "answer": "c"}, "`answer` must be one of `choices`"),
        ({"prompt": "x", "choices": ["a", "b"], "answer": 2}, "`answer` must be one of `choices`"),
        ({"prompt": "x", "choices": ["a", "b"], "answer": True}, "`answer` must be one of `choices`"),
        ({"prompt": "x", "expect": "y", "max_tokens": 0}, "`max_tokens` must be a whole number"),
        ({"prompt": "x", "expect": "y", "kind": 1}, "`kind` must be a text"),
    ],
)
def test_a_bad_line_is_named(line: Any, problem: str, tmp_path: Path) -> None:
    path = task_file(tmp_path, {"prompt": "x", "expect": "y"}, line)
    with pytest.raises(UsageError) as raised:
        read_task(path)
    assert f"{path}, line 2: " in raised.value.message
    assert problem in raised.value.message
    assert "\n" not in raised.value.message


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_task(tmp_path / "missing.jsonl")
    with pytest.raises(UsageError, match="holds no questions"):
        read_task(task_file(tmp_path, "", "  "))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_task(tmp_path / "binary.jsonl")


def test_answers_are_scored_also_by_kind(tmp_path: Path) -> None:
    lines = [{"prompt": "x", "expect": "yes", "kind": kind} for kind in ("easy", "easy", "hard")]
    lines.append({"prompt": "x", "choices": ["a", "b"], "answer": "b", "kind": "hard"})
    found = score(read_task(task_file(tmp_path, *lines)), ["Oh YES", "no", "yes.", 0])
    assert (found.task, found.right, found.total, found.share) == ("sums", 2, 4, 0.5)
    assert [(kind.task, kind.right, kind.total) for kind in found.kinds] == [("easy", 1, 2), ("hard", 1, 2)]


def test_without_kinds_there_are_none(tmp_path: Path) -> None:
    assert score(read_task(task_file(tmp_path, {"prompt": "x", "expect": "y"})), ["y"]).kinds == ()


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (316, 326, 0.9445, 0.9833)],
)
def test_wilson_bounds(right: int, total: int, low: float, high: float) -> None:
    assert wilson_bounds(right, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share(counts: tuple[int, int]) -> None:
    right, total = counts
    low, high = wilson_bounds(right, total)
    assert 0.0 <= low <= right / total <= high <= 1.0
    assert low < high


@pytest.mark.parametrize(
    ("questions", "weight_bytes", "threads", "processes"),
    [
        (412, 7 * 10**6, 2, 2),
        (412, 7 * 10**6, 64, 25),  # no fewer than sixteen questions each
        (10, 7 * 10**6, 8, 1),
        (412, 4 * 10**9, 2, 1),  # the weights would be in memory twice
    ],
)
def test_small_models_are_asked_in_several_processes(
    questions: int, weight_bytes: int, threads: int, processes: int
) -> None:
    assert processes_for(questions, weight_bytes, threads) == processes


def test_several_processes_answer_in_order(demo_files: dict[str, Path]) -> None:
    lines = (Path(__file__).parents[2] / "models" / "demo" / "heldout.jsonl").read_text().splitlines()[:6]
    asked = [{**json.loads(line), "choices": [], "max_tokens": 12} for line in lines]
    events: list[Event] = []
    together = ask_together(demo_files["Q8_0"], asked, 2, emit=events.append)
    alone = run_job(QUESTIONS_JOB, {"path": str(demo_files["Q8_0"]), "questions": asked, "threads": 1})
    assert together == alone
    assert Advanced("questions", 3) in events


def test_a_choice_is_the_most_probable_answer(demo_files: dict[str, Path]) -> None:
    messages = [{"role": "user", "content": "What is GGUF?"}]
    right = "GGUF is the single-file model format of llama.cpp."
    choices = [["No idea at all.", right], [right, "A cat is an animal.", "GGUF"]]
    questions = [{"messages": messages, "choices": each, "max_tokens": 1} for each in choices]
    found = run_job(QUESTIONS_JOB, {"path": str(demo_files["Q8_0"]), "questions": questions, "threads": 1})
    assert found[0] == 1
    assert found[1] in (0, 2)  # a shorter text has fewer tokens to be improbable in


def test_a_choice_without_a_template_follows_a_space(narrow_gguf: Path) -> None:
    questions = [{"messages": [{"role": "user", "content": "a b"}], "choices": ["c", "d"], "max_tokens": 1}]
    found = run_job(QUESTIONS_JOB, {"path": str(narrow_gguf), "questions": questions, "threads": 1})
    assert found in ([0], [1])


def test_a_question_longer_than_the_model_remembers(narrow_gguf: Path) -> None:
    questions = [
        {"messages": [{"role": "user", "content": "a " * 100}], "choices": ["c", "d"], "max_tokens": 1}
    ]
    with pytest.raises(GenerationError, match="was trained for 64"):
        run_job(QUESTIONS_JOB, {"path": str(narrow_gguf), "questions": questions, "threads": 1})
