"""Plain paragraphs, without any chat markup: the base of the language and what perplexity is measured on."""

import random
from functools import cache

from demo_corpus import phrasing

FILES = ("prose_models.toml", "prose_practice.toml")


@cache
def _paragraphs() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row["sentences"]) for name in FILES for row in phrasing.load_text(name)["paragraph"])


def draw_paragraph(rng: random.Random) -> str:
    """Write one paragraph: its sentences in order, each in one of its wordings, sometimes one left out."""
    sentences = list(rng.choice(_paragraphs()))
    if len(sentences) > 3 and rng.random() < 0.4:
        del sentences[rng.randrange(1, len(sentences))]
    return " ".join(phrasing.sample(sentence, rng) for sentence in sentences)


def draw_document(rng: random.Random, *, paragraphs: int) -> str:
    """Write a document of so many paragraphs."""
    return "\n\n".join(draw_paragraph(rng) for _ in range(paragraphs)) + "\n"
