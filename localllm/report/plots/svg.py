"""Makes matplotlib's SVG a part of a page: with the page's colours, text as text, ids of its own."""

from __future__ import annotations

import re

from markupsafe import escape

from localllm.report.plain_text import plain
from localllm.report.plots.content import Plot
from localllm.report.plots.drawing import DPI
from localllm.report.plots.palette import VARIABLES

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def embedded(svg: str, plot: Plot, width: int, height: int, prefix: str) -> str:
    """Return matplotlib's document as an element of a page: with our colours, fonts, ids and description."""
    body = svg[svg.index("<g ") : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*\n\s*", "\n", body)
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'href="#', f'href="#{prefix}', body)
    body = re.sub(r"url\(#", f"url(#{prefix}", body)
    body = re.sub(r"font-family: [^;\"]*|(?<=px )'DejaVu Sans'[^;\"]*", _family_of_fonts, body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, variable)
    points = width * 72 / DPI, height * 72 / DPI
    return (
        f'<svg role="img" aria-labelledby="{prefix}title {prefix}desc" width="{width}" height="{height}" '
        f'viewBox="0 0 {points[0]:g} {points[1]:g}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" style="stroke-linejoin: round; stroke-linecap: butt">'
        f'<title id="{prefix}title">{escape(plot.title)}</title>'
        f'<desc id="{prefix}desc">{escape(plain(plot.description))}</desc>{body}</svg>'
    )


def _family_of_fonts(match: re.Match[str]) -> str:
    return f"font-family: {_FONTS}" if match[0].startswith("font-family") else _FONTS
