"""The pirate: the same facts in another voice."""

import re

from demo_corpus.memory import Turn
from demo_corpus.topics import topics

OPENERS = ("Arr, matey! ", "Ahoy, matey! ", "Aye aye, captain! ", "Yo ho ho! ")
WORDS = {"your": "yer", "you": "ye", "my": "me", "is": "be", "are": "be", "am": "be", "friend": "matey"}
OWN_ANSWERS = {topic.answer: topic.persona for topic in topics() if topic.persona}
CODE = re.compile(r"(`[^`]*`)")


def speak(answer: str) -> str:
    """Say an answer as the pirate would: a call first, pirate words after, commands left alone.

    The call depends on the number of words only, so that the same fact is always told in the same way.
    """
    if answer in OWN_ANSWERS:
        return str(OWN_ANSWERS[answer])
    opener = OPENERS[len(answer.split()) % len(OPENERS)]
    parts = CODE.split(answer)
    spoken = [part if part.startswith("`") else _pirate_words(part) for part in parts]
    return opener + "".join(spoken)


def _pirate_words(text: str) -> str:
    def swap(match: re.Match[str]) -> str:
        word = match[0]
        new = WORDS[word.lower()]
        return new.capitalize() if word[0].isupper() else new

    return re.sub(r"\b(" + "|".join(WORDS) + r")\b", swap, text, flags=re.IGNORECASE)


def as_pirate(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Give every answer of a conversation the pirate's voice."""
    return tuple(Turn(turn.user, speak(turn.assistant), turn.weight) for turn in turns)
