"""The topics: what may be asked, what is answered, and which phrasings training must never see."""

import random
import re
from dataclasses import dataclass
from functools import cache

from demo_corpus import phrasing

FILES = (
    "topics_gguf.toml",
    "topics_quantization.toml",
    "topics_levels.toml",
    "topics_finetuning.toml",
    "topics_chat.toml",
    "topics_commands.toml",
    "topics_talk.toml",
)
FRAME_SHARE = 0.45  # of the questions about a topic that frames suit, how many use one
COMMONER = {
    "out_of_scope": 5.0,
    "greeting": 1.5,
    "who_are_you": 1.5,
}  # topics with many ways to ask are asked more


@dataclass(frozen=True, slots=True)
class Topic:
    """A thing people ask about: `ask` and `held_out` are questions, `expect` tells a right answer."""

    key: str
    terms: tuple[str, ...]
    ask: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    expect: str
    persona: str | None = None
    is_level: bool = False
    actions: tuple[str, ...] = ()


@cache
def topics() -> tuple[Topic, ...]:
    """All topics in the order of the files."""
    rows = [row for name in FILES for row in phrasing.load_text(name)["topic"]]
    return tuple(
        Topic(
            key=row["key"],
            terms=tuple(row["terms"]),
            ask=tuple(row["ask"]),
            held_out=tuple(row["held_out"]),
            answer=row["answer"],
            expect=row["expect"],
            persona=row.get("persona"),
            is_level=row.get("is_level", False),
            actions=tuple(row.get("actions", ())),
        )
        for row in rows
    )


@cache
def frames() -> dict[str, list[str]]:
    """The general phrases of frames.toml."""
    return phrasing.load_text("frames.toml")


@cache
def _held_out_forms() -> frozenset[str]:
    return frozenset(phrasing.normal_form(question) for topic in topics() for question in topic.held_out)


@cache
def _weights() -> list[float]:
    return [COMMONER.get(topic.key, 1.0) for topic in topics()]


def draw_topic(rng: random.Random) -> Topic:
    """Pick a topic for a training question."""
    return rng.choices(topics(), weights=_weights())[0]


def _framed(topic: Topic) -> list[tuple[str, tuple[str, ...], str]]:
    """The general frames that suit the topic: their name, what fills them, and the letter it replaces."""
    suiting = [("define", topic.terms, "T")] if topic.terms else []
    suiting += [("level", topic.terms, "T")] if topic.is_level else []
    return suiting + ([("action", topic.actions, "A")] if topic.actions else [])


def _put(frame: str, letter: str, filling: str) -> str:
    return re.sub(rf"\b{letter}\b", lambda _: filling, frame)


def draw_question(topic: Topic, rng: random.Random) -> str:
    """Write one training question about the topic; it is never one of the held-out ones."""
    general = frames()
    framed = _framed(topic)
    while True:
        if framed and rng.random() < FRAME_SHARE:
            name, fillings, letter = rng.choice(framed)
            core = _put(rng.choice(general[name]), letter, rng.choice(fillings))
        else:
            core = rng.choice(topic.ask)
        words = " ".join(phrasing.sample(core, rng).split())
        question = phrasing.ask(words, rng, openers=general["openers"], closers=general["closers"])
        if phrasing.normal_form(question) not in _held_out_forms():
            return question


def training_cores(topic: Topic) -> set[str]:
    """Every undressed training question of the topic, in normal form."""
    patterns = list(topic.ask)
    for name, fillings, letter in _framed(topic):
        patterns += [_put(frame, letter, filling) for frame in frames()[name] for filling in fillings]
    return {phrasing.normal_form(text) for pattern in patterns for text in phrasing.expand(pattern)}


def check_topics() -> None:
    """Assert that held-out questions are not trained on, and that `expect` knows its own answer only."""
    for topic in topics():
        assert len(topic.held_out) >= 5, f"{topic.key}: fewer than five held-out questions"
        seen = training_cores(topic) & _held_out_forms()
        assert not seen, f"{topic.key}: held-out questions in the training phrasings: {sorted(seen)}"
        for other in topics():
            matches = re.search(topic.expect, other.answer, re.IGNORECASE) is not None
            assert matches == (other is topic), f"`expect` of {topic.key} against the answer of {other.key}"
