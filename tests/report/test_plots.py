"""Plots: what is in them, the same bytes each time, and labels that cover nothing."""

from __future__ import annotations

import io
import itertools
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.comparison.measurement import Speed, Uncertain
from localllm.report.plots import plots, to_png, to_svg
from localllm.report.plots.label_places import place_labels
from tests.report.examples import (
    FAILED,
    HOSTILE_RESULT,
    REFERENCE,
    TWELVE,
    WITHOUT_QUALITY,
    WITHOUT_SPEED,
)

SVG = "{http://www.w3.org/2000/svg}"


def svg(index: int = 0, width: int = 660) -> str:
    return to_svg(plots(TWELVE)[index], width=width, height=400, prefix="p-")


def test_both_plots_have_all_levels_and_their_errors() -> None:
    size, speed = plots(TWELVE)
    assert [plot.name for plot in (size, speed)] == ["size", "speed"]
    for plot in (size, speed):
        assert [point.label for point in plot.points] == [row.level for row in TWELVE.measurements[:-1]]
        assert plot.reference is not None
        assert plot.reference.label == "BF16"
        assert all(point.y.stderr > 0 for point in plot.points)
    assert all(point.x.stderr > 0 for point in speed.points)


def test_what_was_not_measured_is_not_plotted() -> None:
    assert plots(WITHOUT_QUALITY) == []
    assert to_png(WITHOUT_QUALITY) is None
    assert [plot.name for plot in plots(WITHOUT_SPEED)] == ["size"]
    assert [[point.label for point in plot.points] for plot in plots(FAILED)] == [["Q2_K"], ["Q2_K"]]


def test_without_a_reference_perplexity_is_plotted() -> None:
    rows = tuple(replace(row, kl_divergence=None, is_reference=False) for row in TWELVE.measurements)
    size, _ = plots(replace(TWELVE, measurements=rows))
    assert size.y.label == "perplexity"
    assert len(size.points) == 13
    assert to_svg(size, width=660, height=400, prefix="p-")


def test_figures_without_a_place_on_the_axis() -> None:
    """A KL divergence of 0 has no logarithm, and an error larger than the value would reach below 0."""
    exact = replace(TWELVE.measurements[0], kl_divergence=Uncertain(0.0, 0.0))
    vague = replace(TWELVE.measurements[1], kl_divergence=Uncertain(0.001, 0.002))
    result = replace(TWELVE, measurements=(exact, vague, REFERENCE))
    assert [point.label for point in plots(result)[0].points] == ["Q3_K_S"]
    assert to_png(result)


def test_what_is_no_number_is_left_out() -> None:
    speed = replace(_speed_of(1), stderr=math.nan)  # of one repetition
    once = replace(TWELVE.measurements[1], generation_tokens_per_second=speed)
    broken = replace(TWELVE.measurements[0], kl_divergence=Uncertain(math.nan, math.nan))
    result = replace(TWELVE, measurements=(broken, once, REFERENCE))
    _, drawn = plots(result)
    assert [(point.label, point.x.stderr) for point in drawn.points] == [("Q3_K_S", 0.0)]
    assert to_png(result)


def _speed_of(index: int) -> Speed:
    speed = TWELVE.measurements[index].generation_tokens_per_second
    assert speed is not None
    return speed


def test_the_same_comparison_gives_the_same_bytes() -> None:
    assert svg() == svg()
    assert to_png(TWELVE) == to_png(TWELVE)


def test_a_png_has_both_plots() -> None:
    from PIL import Image

    content = to_png(TWELVE)
    assert content is not None
    assert len(content) < 500_000
    image = Image.open(io.BytesIO(content)).convert("RGB")
    assert image.width > 2 * image.height
    for half in (0, image.width // 2):
        part = image.crop((half, 0, half + image.width // 2, image.height))
        colours = {colour for _, colour in part.getcolors(1 << 24) or ()}
        assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours  # both families
    assert "Software" not in image.info


def test_an_svg_takes_its_colours_from_the_page_and_needs_nothing_else() -> None:
    text = svg()
    root = ET.fromstring(text)
    assert root.get("role") == "img"
    titles = [element.text for element in root if element.tag in (f"{SVG}title", f"{SVG}desc")]
    assert titles[0] == "Size against quality"
    assert "Q4_K_M: 2.29 MiB, KL divergence 0.0031 ±0.0002" in (titles[1] or "")
    assert root.get("aria-labelledby") == "p-title p-desc"
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(identifiers) == len(set(identifiers))
    assert all(identifier.startswith("p-") for identifier in identifiers if identifier)
    references = re.findall(r'(?:href="|url\()#([^")]+)', text)
    assert set(references) <= set(identifiers)
    assert not re.search(r'href="(?!#)', text)
    colours = set(re.findall(r"#[0-9a-f]{6}\b", text))
    assert colours == set()
    shown = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert {"Q2_K", "Q8_0", "BF16, the reference", "size, MiB (smaller is better)"} <= shown


def test_hostile_names_stay_text() -> None:
    text = to_svg(plots(HOSTILE_RESULT)[0], width=340, height=340, prefix="p-")
    assert "<script" not in text
    assert "\x1b" not in text
    ET.fromstring(text)


@pytest.mark.parametrize("width", [660, 340])
def test_the_users_settings_change_nothing(width: int) -> None:
    import matplotlib

    before = svg(width=width)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert svg(width=width) == before


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@given(st.lists(st.tuples(st.floats(20, 380), st.floats(20, 280)), min_size=1, max_size=12, unique=True))
def test_labels_do_not_cover_each_other(points: list[tuple[float, float]]) -> None:
    sizes = [(45.0, 11.0)] * len(points)
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    places = place_labels(points, sizes, marks, (0, 0, 400, 300))
    assert places == place_labels(points, sizes, marks, (0, 0, 400, 300))
    boxes = [place.box for place in places]
    assert not any(overlap(*pair) for pair in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(("width", "height"), [(660, 480), (340, 360)])
@pytest.mark.parametrize("index", [0, 1])
def test_twelve_levels_have_room(index: int, width: int, height: int) -> None:
    from localllm.report.plots import labels as module

    seen: list[list[tuple[float, ...]]] = []

    def noting(*arguments: object) -> object:
        places = place_labels(*arguments)  # type: ignore[arg-type]
        seen.append([place.box for place in places])
        return places

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "place_labels", noting)
        to_svg(plots(TWELVE)[index], width=width, height=height, prefix="p-")
    (boxes,) = seen
    assert len(boxes) == 12
    assert not any(overlap(*pair) for pair in itertools.combinations(boxes, 2))
    assert all(min(box) >= 0 and box[2] <= width and box[3] <= height for box in boxes)
