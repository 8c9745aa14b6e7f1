"""Writes a Go template for turns, so that it reads well and every character of the texts comes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localllm.export.turns import SystemPlace, Turns


@dataclass(frozen=True)
class _Act:
    """An action, without the braces."""

    code: str


_Piece = str | _Act
_END, _ELSE = _Act("end"), _Act("else")
_TEXT = _Act(".Content")
_TEXTS = (".Content", ".System", "$.System")


def go_template(turns: Turns) -> str:
    """Return a template that puts `turns` around the messages Ollama gives it."""
    return _written(_pieces(turns))


def _pieces(turns: Turns) -> list[_Piece]:
    before, behind = turns.question
    is_regular = turns.start.endswith(before) and turns.after_system.endswith(before)
    if turns.system_place is SystemPlace.LAST_MESSAGE:
        opening: list[_Piece] = []
        lead = _last_message_lead(turns, before)
    elif is_regular:
        opening = _choice(turns.start.removesuffix(before), _with_system(turns, len(before), "."), ".")
        lead = [before]
    else:
        opening = [_Act("$first := true")]
        first = _choice(turns.start, _with_system(turns, 0, "$."), "$.")
        lead = [_Act("if $first"), *first, _Act("$first = false"), _ELSE, before, _END]
    return [
        *opening,
        _Act("range $i, $_ := .Messages"),
        _Act("$last := eq (len (slice $.Messages $i)) 1"),
        _Act('if eq .Role "user"'),
        *lead,
        _TEXT,
        *_closing(behind, turns.closing),
        _Act('else if eq .Role "assistant"'),
        turns.answer[0],
        _TEXT,
        *_unless_last(turns.answer[1]),
        _END,
        _END,
    ]


def _with_system(turns: Turns, cut: int, given: str) -> list[_Piece]:
    """Return the system prompt and what is around it, without the last `cut` characters.

    `given` is how what the template was given is reached: `.`, or `$.` inside of a loop.
    """
    after = turns.after_system[: len(turns.after_system) - cut]
    return [turns.before_system, _Act(f"{given}System"), after]


def _choice(without: str, with_system: list[_Piece], given: str) -> list[_Piece]:
    otherwise: list[_Piece] = [_ELSE, without] if without else []
    return [_Act(f"if {given}System"), *with_system, *otherwise, _END]


def _last_message_lead(turns: Turns, before: str) -> list[_Piece]:
    first: list[_Piece] = [before]
    opening: list[_Piece] = []
    if turns.start != before:
        opening = [_Act("if eq (len (slice $.Messages 0 $i)) 0"), turns.start, _ELSE, before, _END]
    system = _with_system(turns, 0, "$.")
    return [*(opening or first), _Act("if and $last $.System"), *system, _END]


def _unless_last(text: str) -> list[_Piece]:
    return [_Act("if not $last"), text, _END] if text else []


def _closing(behind: str, closing: str) -> list[_Piece]:
    """Return what stands behind a question: in the middle, and at the end of the prompt."""
    if closing == behind:
        return [behind]
    if closing.startswith(behind):
        return [behind, _Act("if $last"), closing.removeprefix(behind), _END]
    return [_Act("if $last"), closing, _ELSE, behind, _END]


# writing --------------------------------------------------------------------------------------


def _written(pieces: Sequence[_Piece]) -> str:
    """Return the template: a new line between two actions, none beside text, where it would count."""
    lines: list[str] = []
    is_behind_action = False
    for piece in pieces:
        if isinstance(piece, _Act):
            breaks = is_behind_action and piece.code not in _TEXTS
            lines.append(f"\n{{{{- {piece.code} }}}}" if breaks else f"{{{{ {piece.code} }}}}")
            is_behind_action = True
        elif piece:
            lines.append(_literal(piece))
            is_behind_action = False
    return "".join(lines)


def _literal(text: str) -> str:
    """Return a text for a template: what means something there, or a Modelfile loses, as a quoted text."""
    written = []
    for run, is_plain in _runs(text):
        written.append(run if is_plain else "{{ " + _quoted(run) + " }}")
    return "".join(written)


def _runs(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text that can stand as they are, and those that cannot.

    Modelfiles end at quotes and lose what Go does not call printable, but for white space.
    """
    runs: list[tuple[str, bool]] = []
    for character in text:
        is_plain = character not in '{}"' and (character.isprintable() or character in "\n\t")
        if runs and runs[-1][1] is is_plain:
            runs[-1] = (runs[-1][0] + character, is_plain)
        else:
            runs.append((character, is_plain))
    return runs


def _quoted(text: str) -> str:
    """Return a Go text of characters that a Modelfile keeps and that are no quotes."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in "{}":
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
