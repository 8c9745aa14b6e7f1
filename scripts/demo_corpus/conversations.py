"""An endless, seeded stream of training conversations, and the held-out tasks."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo_corpus import memory, phrasing, topics
from demo_corpus.memory import Turn

Message = dict[str, str]
SYSTEM_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation for training: an optional system message and its turns."""

    system: str | None
    turns: tuple[Turn, ...]


def fact_turn(rng: random.Random) -> Turn:
    """One question and its answer."""
    topic = topics.draw_topic(rng)
    return Turn(topics.draw_question(topic, rng), topic.answer)


def _fillers(rng: random.Random, most: int) -> list[Turn]:
    return [fact_turn(rng) for _ in range(rng.randint(0, most))]


def memory_turns(rng: random.Random, *, most_between: int) -> list[Turn]:
    """A conversation in which something told early is asked for later, or asked for without being told."""
    name, colour = memory.draw_name(rng), memory.draw_colour(rng)
    turns = _fillers(rng, 1) if rng.random() < 0.3 else []
    kind = rng.random()
    if kind < 0.40:
        asked = memory.ask_name(name, rng)
        turns += [memory.tell_name(name, rng), *_fillers(rng, most_between), asked]
    elif kind < 0.70:
        turns += [
            memory.tell_colour(colour, rng),
            *_fillers(rng, most_between),
            memory.ask_colour(colour, rng),
        ]
    elif kind < 0.90:
        told = [
            memory.tell_name(name, rng),
            *_fillers(rng, most_between // 2),
            memory.tell_colour(colour, rng),
        ]
        told = told if rng.random() < 0.6 else [memory.tell_both(name, colour, rng)]
        asked_turns = [
            memory.ask_name(name, rng),
            memory.ask_colour(colour, rng),
            memory.ask_both(name, colour, rng),
        ]
        rng.shuffle(asked_turns)
        turns += [*told, *_fillers(rng, most_between), *asked_turns[: rng.randint(1, 3)]]
    elif kind < 0.95:
        turns += [memory.ask_name(None, rng) if rng.random() < 0.6 else memory.ask_colour(None, rng)]
    else:
        corrected = memory.draw_name(rng)
        turns += [
            memory.tell_name(name, rng),
            memory.tell_name(corrected, rng),
            memory.ask_name(corrected, rng),
        ]
    if rng.random() < 0.2:
        turns += _fillers(rng, 1)
    return turns


def draw_conversation(
    rng: random.Random, *, memory_share: float, most_between: int, echo_share: float = 0.0
) -> Conversation:
    """Draw one training conversation."""
    if rng.random() < echo_share:
        turns = [memory.echo(rng) for _ in range(rng.randint(1, 3))]
    elif rng.random() < memory_share:
        turns = memory_turns(rng, most_between=most_between)
    else:
        count = rng.choices((1, 2, 3, 5, 8), weights=(60, 20, 10, 7, 3))[0]
        turns = [fact_turn(rng) for _ in range(count)]
    system = rng.choice(topics.frames()["systems"]) if rng.random() < SYSTEM_SHARE else None
    return Conversation(system, tuple(turns))


def held_out_tasks() -> list[dict[str, Any]]:
    """The tasks a model is scored on: every held-out question, and memory turns with values never trained."""
    tasks = [
        {"kind": "fact", "topic": topic.key, "messages": [_said("user", question)], "expect": topic.expect}
        for topic in topics.topics()
        for question in topic.held_out
    ]
    return tasks + list(_memory_tasks(random.Random(20_26)))


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _memory_tasks(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Two tasks per name and colour: in phrasings of the training kind, and in phrasings never trained."""
    text = memory.text()
    subjects = [("name", name) for name in text["held_out_names"]] + [
        ("colour", colour) for colour in text["held_out_colours"]
    ]
    for number, (subject, value) in enumerate(subjects):
        for new_words in (False, True):
            prefix = "held_out_" if new_words else ""
            told = rng.choice(text[f"{prefix}tell_{subject}"])
            asked = rng.choice(text[f"{prefix}ask_{subject}"])
            slots = {subject: value.lower() if number % 5 == 4 else value}
            said = memory.fill(told, rng, **slots)
            shown = slots[subject]
            answer = memory.welcome(shown) if subject == "name" else memory.praise(shown)
            messages = [_said("user", said), _said("assistant", answer)]
            for topic in rng.sample(topics.topics(), k=(number + new_words) % 4):
                messages += [_said("user", rng.choice(topic.held_out)), _said("assistant", topic.answer)]
            messages.append(_said("user", phrasing.punctuate(phrasing.sample(asked, rng), rng)))
            yield {"kind": "memory", "topic": subject, "messages": messages, "expect": rf"\b{value}\b"}
