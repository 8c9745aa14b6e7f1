"""Breaks streamed text between words at the edge of the terminal, which itself would cut words in two.

Code in fences (``` or ~~~) is passed on as it is: a line that the terminal breaks is copied as one line.
"""

from __future__ import annotations

from rich.cells import cell_len

_LONGEST_HELD = (
    32  # characters: what is longer than a word (a URL, a language without spaces) is not held back
)
_FENCES = ("```", "~~~")
_TAB = 8


class WordWrap:
    """Takes text in pieces and returns it with line breaks; a word is held until it is complete.

    `width` may be changed at any time.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._column = 0
        self._gap = ""  # spaces seen, printed only when the next word stays on the line
        self._word = ""
        self._fence = ""  # the fence that code is in
        self._first = True  # whether the line has had no word yet

    @property
    def is_at_start(self) -> bool:
        """Return whether nothing was put on the current line."""
        return self._column == 0 and not self._word

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be shown."""
        return "".join(self._take(character) for character in text)

    def finish(self) -> str:
        """Return what is still held."""
        return self._end_word()

    def _take(self, character: str) -> str:
        if character == "\n":
            shown = self._end_word() + "\n"
            self._column, self._gap, self._first = 0, "", True
            return shown
        if character in " \t":
            shown = self._end_word()
            at = self._column + len(self._gap)
            self._gap += " " if character == " " else " " * (_TAB - at % _TAB)
            return shown
        self._word += character
        if self._fence and not self._may_be_fence():
            return self._end_word()
        if len(self._word) >= _LONGEST_HELD or cell_len(character) == 2:
            return self._end_word()
        return ""

    def _may_be_fence(self) -> bool:
        return self._first and any(fence.startswith(self._word[:3]) for fence in _FENCES)

    def _end_word(self) -> str:
        if not self._word:
            return ""
        width = cell_len(self._word)
        may_break = self._gap or width > len(self._word)  # at spaces, and anywhere in wide scripts
        is_code = self._is_code()
        beyond = self._column + len(self._gap) + width > self.width
        if may_break and self._column and beyond and not is_code:
            shown, self._column = "\n" + self._word, width
        else:
            shown = self._gap + self._word
            end = self._column + len(self._gap) + width
            self._column = end if end <= self.width else end % max(1, self.width)  # the terminal broke it
        self._gap, self._word, self._first = "", "", False
        return shown

    def _is_code(self) -> bool:
        """Tell whether the word is code or a fence; a fence opens code, another like it closes it."""
        before, fence = self._fence, self._word[:3]
        if self._first and fence in _FENCES and before in ("", fence):
            self._fence = "" if before else fence
        return bool(before or self._fence)
