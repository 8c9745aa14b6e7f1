"""The ten conversations on which a translated template is compared with the original, and probes of the rest.

Between them: one turn and many, with a system prompt and without, long texts, other scripts, code, markup and
braces that mean something to template languages. All end with a question, as prompts do.
"""

from __future__ import annotations

from collections.abc import Sequence

Conversation = list[dict[str, str]]


def _talk(system: str | None, *texts: str) -> Conversation:
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return [*([{"role": "system", "content": system}] if system else []), *turns]


CONVERSATIONS: Sequence[Conversation] = (
    _talk(None, "Hello"),
    _talk("You are terse.", "What is the capital of France?"),
    _talk(None, "Hello", "Hi! How can I help?", "Tell me a story."),
    _talk("You are a pirate.", "Who are you?", "Arr!", "Where is the gold?", "Buried.", "Where exactly?"),
    _talk(None, "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    _talk("Du sprichst Deutsch – immer.", "Grüß Gott! 你好 👋🏽", "Grüß dich. こんにちは", "Что ещё?"),
    _talk(
        None, "def f(x):\n\treturn {'a': x}\n\nWhat does `f` do?", "It wraps `x`:\n\n```\n{'a': 1}\n```", "ok"
    ),
    _talk("Say \"yes\" or 'no'.\n\n- one\n- two", 'Is """this""" <b>bold</b> & 100 % {{ .Done }} {% if %}?'),
    _talk("Be kind.", "word " * 400 + "end", "x" * 2000, "Shorter, please."),
    _talk("The user is called \\Ana\\.", "{{", "}}", "{{- /* */ -}}", "%}{#", "$1 \\n \\"),
)

# what a template may do to texts that a translation does not; each changes one thing
PADDED = _talk(" be kind ", "  What?\n", "\n That. ", " Which one? ")
REASONED = _talk(None, "What?", "<think>\nHm.\n</think>\n\nThat.", "Which one?")
