"""The colours and shapes of plots: for print as they are, for the page as CSS variables (light and dark).

Colours are those of Okabe and Ito, made for colour-blind readers; the shapes differ, too.
"""

from __future__ import annotations

from dataclasses import dataclass

# what a family of levels is called, and its marker
FAMILIES = (("K-quants", "o"), ("legacy", "s"), ("I-quants", "^"), ("other", "D"))


@dataclass(frozen=True)
class Palette:
    """The colours of one drawing; `families` in the order of FAMILIES. `has_halos`: labels get an outline."""

    ink: str
    faint: str
    paper: str
    families: tuple[str, str, str, str]
    has_halos: bool


PRINT = Palette("#1a1a1a", "#6b6b6b", "#ffffff", ("#0072b2", "#d55e00", "#009e73", "#6a6a6a"), True)
# these stand for the variables until the SVG is written; the style of the page draws the halos
PAGE = Palette("#010203", "#040506", "#070809", ("#0a0b0c", "#0d0e0f", "#101112", "#131415"), False)
VARIABLES = {
    PAGE.ink: "var(--ink)",
    PAGE.faint: "var(--faint)",
    PAGE.paper: "var(--paper)",
    PAGE.families[0]: "var(--family-k)",
    PAGE.families[1]: "var(--family-legacy)",
    PAGE.families[2]: "var(--family-i)",
    PAGE.families[3]: "var(--family-other)",
}
