"""Questions and answers as plain text, without chat markup: for training, and for measuring perplexity."""

import random
from collections.abc import Iterable

from demo_corpus import topics

EVALUATION_SEED = 20_26


def _page(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in pairs)


def draw_page(rng: random.Random) -> str:
    """Write a page of one to ten training questions with their answers."""
    chosen = [topics.draw_topic(rng) for _ in range(rng.randint(1, 10))]
    return _page((topics.draw_question(topic, rng), topic.answer) for topic in chosen)


def evaluation_text() -> str:
    """Two held-out questions of every topic with their answers, in mixed order: text training never saw."""
    pairs = [(question, topic.answer) for topic in topics.topics() for question in topic.held_out[:2]]
    random.Random(EVALUATION_SEED).shuffle(pairs)
    return _page(pairs)
