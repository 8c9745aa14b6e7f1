"""Conversations that need something said earlier: a name, a favourite colour, or both.

The names are made up from syllables, thousands of them, and so are many colours: only copying can answer.
"""

import random
import re
import string
from dataclasses import dataclass
from functools import cache
from typing import Any

from demo_corpus import phrasing, topics

NO_NAME = "You have not told me your name yet."
NO_COLOUR = "You have not told me your favourite colour yet."


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, what the assistant answers, and how much the answer counts in the loss."""

    user: str
    assistant: str
    weight: float = 1.0


@cache
def text() -> dict[str, Any]:
    """The phrases and syllables of memory.toml."""
    return phrasing.load_text("memory.toml")


@cache
def _held_out_words() -> frozenset[str]:
    return frozenset(word.lower() for word in text()["held_out_names"] + text()["held_out_colours"])


@cache
def _long_words() -> list[str]:
    """Words of the answers, to cut made-up words from."""
    answers = " ".join(topic.answer for topic in topics.topics())
    return sorted({word.lower() for word in re.findall(r"[A-Za-z]{5,}", answers)})


def _from_syllables(rng: random.Random) -> str:
    count = rng.choices((1, 2, 3), weights=(2, 5, 2))[0]
    syllables = [rng.choice(text()["onsets"]) + rng.choice(text()["vowels"]) for _ in range(count)]
    return "".join(syllables) + rng.choice(text()["codas"])


def _from_words(rng: random.Random) -> str:
    first, second = rng.choice(_long_words()), rng.choice(_long_words())
    return first[: rng.randint(1, 4)] + second[-rng.randint(2, 5) :]


def _from_letters(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 8)))


def made_up_word(rng: random.Random) -> str:
    """Build a lower-case word that is no held-out name or colour.

    Syllables alone make words so regular that a model could guess their ends; the other kinds force copying.
    """
    while True:
        make = rng.choices((_from_syllables, _from_words, _from_letters), weights=(5, 4, 2))[0]
        word = make(rng)
        if len(word) > 2 and word not in _held_out_words():
            return word


def draw_name(rng: random.Random) -> str:
    """Make up a name, mostly written with a capital."""
    name = made_up_word(rng)
    kind = rng.random()
    if kind < 0.04:
        return f"{name.capitalize()} {made_up_word(rng).capitalize()}"
    if kind < 0.06:
        return name.upper()
    return name.capitalize() if kind < 0.78 else name


def draw_colour(rng: random.Random) -> str:
    """Choose a colour: a common one, a shade of one, or a made-up word."""
    while True:
        kind = rng.random()
        if kind < 0.20:
            colour = rng.choice(text()["colours"])
        elif kind < 0.38:
            colour = f"{rng.choice(text()['shades'])} {rng.choice(text()['colours'])}"
        elif kind < 0.50:
            colour = f"{made_up_word(rng)} {rng.choice(text()['colours'])}"
        else:
            colour = made_up_word(rng)
        if colour not in _held_out_words():
            return colour


def fill(pattern: str, rng: random.Random, *, name: str = "", colour: str = "") -> str:
    """Choose the pattern's words, write them carefully or not, and put name and colour in as they are."""
    slots = pattern.replace("<name>", "\x01").replace("<colour>", "\x02")
    said = phrasing.punctuate(phrasing.sample(slots, rng), rng, mark=".")
    return said.replace("\x01", name).replace("\x02", colour)


def echo(rng: random.Random) -> Turn:
    """Made-up words to say back at once: the densest way to learn copying."""
    words = " ".join(made_up_word(rng) for _ in range(rng.randint(1, 6)))
    pattern = phrasing.sample(rng.choice(text()["ask_echo"]), rng)
    if rng.random() < 0.5:
        pattern = pattern[:1].upper() + pattern[1:]
    return Turn(pattern.replace("<words>", words), words)


def welcome(name: str) -> str:
    """The answer to being told a name."""
    return f"Nice to meet you, {name}!"


def praise(colour: str) -> str:
    """The answer to being told a colour."""
    return f"I will remember that your favourite colour is {colour}."


def tell_name(name: str, rng: random.Random) -> Turn:
    return Turn(fill(rng.choice(text()["tell_name"]), rng, name=name), welcome(name), 1.5)


def tell_colour(colour: str, rng: random.Random) -> Turn:
    return Turn(fill(rng.choice(text()["tell_colour"]), rng, colour=colour), praise(colour), 1.5)


def tell_both(name: str, colour: str, rng: random.Random) -> Turn:
    said = fill(rng.choice(text()["tell_both"]), rng, name=name, colour=colour)
    return Turn(said, f"{welcome(name)} {praise(colour)}", 1.5)


def _ask(kind: str, rng: random.Random) -> str:
    core = phrasing.sample(rng.choice(text()[kind]), rng)
    return phrasing.ask(core, rng, openers=topics.frames()["openers"], closers=topics.frames()["closers"])


def ask_name(name: str | None, rng: random.Random) -> Turn:
    question = _ask("ask_name", rng)
    return Turn(question, f"Your name is {name}." if name else NO_NAME, 2.0)


def ask_colour(colour: str | None, rng: random.Random) -> Turn:
    question = _ask("ask_colour", rng)
    return Turn(question, f"Your favourite colour is {colour}." if colour else NO_COLOUR, 2.0)


def ask_both(name: str | None, colour: str | None, rng: random.Random) -> Turn:
    question = _ask("ask_both", rng)
    known = [f"Your name is {name}."] if name else []
    known += [f"Your favourite colour is {colour}."] if colour else []
    return Turn(question, " ".join(known) or f"{NO_NAME} {NO_COLOUR}", 2.0)


def check_memory() -> None:
    """Assert that the held-out ways to tell and ask, and the held-out colours, are not trained."""
    for kind in ("tell_name", "tell_colour", "ask_name", "ask_colour"):
        trained = {phrasing.normal_form(said) for part in text()[kind] for said in phrasing.expand(part)}
        held_out = {phrasing.normal_form(said) for said in text()[f"held_out_{kind}"]}
        assert not held_out & trained, f"{kind}: held-out phrasings among the trained ones"
    assert not _held_out_words() & set(text()["colours"]), "held-out colours among the trained ones"
