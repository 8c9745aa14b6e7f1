"""Breaks streamed text between words at the edge of the terminal, which itself would cut words in two."""

from __future__ import annotations

from rich.cells import cell_len

_LONGEST_HELD = (
    32  # characters: what is longer than a word (a URL, a language without spaces) is not held back
)


class WordWrap:
    """Takes text in pieces and returns it with line breaks; a word is held until it is complete."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._gap = ""  # spaces seen, printed only when the next word stays on the line
        self._word = ""

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be shown."""
        return "".join(self._take(character) for character in text)

    def finish(self) -> str:
        """Return what is still held."""
        return self._end_word()

    def _take(self, character: str) -> str:
        if character == "\n":
            shown = self._end_word() + "\n"
            self._column, self._gap = 0, ""
            return shown
        if character == " ":
            shown = self._end_word()
            self._gap += " "
            return shown
        self._word += character
        if len(self._word) >= _LONGEST_HELD or cell_len(character) == 2:
            return self._end_word()
        return ""

    def _end_word(self) -> str:
        if not self._word:
            return ""
        width = cell_len(self._word)
        may_break = self._gap or width > len(self._word)  # at spaces, and anywhere in wide scripts
        if may_break and self._column and self._column + len(self._gap) + width > self._width:
            shown, self._column = "\n" + self._word, width
        else:
            shown = self._gap + self._word
            end = self._column + len(self._gap) + width
            self._column = end if end <= self._width else end % max(1, self._width)  # the terminal broke it
        self._gap, self._word = "", ""
        return shown
