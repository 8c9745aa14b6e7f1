"""Ways of saying a thing: patterns with alternatives, and the noise of people who type."""

import itertools
import random
import re
import string
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
DROPPABLE = frozenset(
    {"the", "a", "an", "is", "are", "do", "does", "to", "of", "please", "can", "should", "would"}
)


def load_text(name: str) -> dict[str, Any]:
    """Read one `.toml` file of this folder."""
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


def sample(pattern: str, rng: random.Random) -> str:
    """Choose one alternative in every `{a|b}` of the pattern."""
    return ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), pattern)


def expand(pattern: str) -> list[str]:
    """List every text the pattern can become."""
    parts = ALTERNATIVES.split(pattern)
    choices = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(combination) for combination in itertools.product(*choices)]


def normal_form(text: str) -> str:
    """Reduce a question to its words, so that case, punctuation and spacing do not make it look new."""
    return " ".join(re.findall(r"[a-z0-9_.+*'-]*[a-z0-9_+*]", text.lower()))


def mistype(text: str, rng: random.Random) -> str:
    """Swap, drop or double one letter inside one of the longer words."""
    words = text.split(" ")
    candidates = [
        index for index, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()
    ]
    if not candidates:
        return text
    index = rng.choice(candidates)
    word, at = words[index], rng.randrange(1, len(words[index]) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == 1:
        word = word[:at] + word[at + 1 :]
    elif kind == 2:
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + rng.choice(string.ascii_lowercase) + word[at + 1 :]
    words[index] = word
    return " ".join(words)


def drop_small_word(text: str, rng: random.Random) -> str:
    """Leave out one word that carries no meaning, as hasty typing does."""
    words = text.split(" ")
    candidates = [index for index, word in enumerate(words) if word in DROPPABLE]
    if len(words) > 3 and candidates:
        del words[rng.choice(candidates)]
    return " ".join(words)


def punctuate(text: str, rng: random.Random, *, mark: str = "?") -> str:
    """Write the text as a careful or a careless person would: a capital and a mark, or neither."""
    if rng.random() < 0.6:
        text = text[:1].upper() + text[1:]
    elif rng.random() < 0.3:
        text = text.lower()
    chance = rng.random()
    if text[-1:] in string.punctuation:
        return text
    return text + (mark if chance < 0.7 else "." if chance < 0.78 else "")


def ask(core: str, rng: random.Random, *, openers: list[str], closers: list[str]) -> str:
    """Dress a question: perhaps words before and after it, a slip of the keys, and punctuation."""
    text = core
    if rng.random() < 0.08:
        text = drop_small_word(text, rng)
    if rng.random() < 0.10:
        text = mistype(text, rng)
    if rng.random() < 0.30:
        text = rng.choice(openers) + text
    if rng.random() < 0.15:
        text = text + rng.choice(closers)
    return punctuate(text, rng)
