"""The page: complete, needing nothing else, and true HTML whatever a model is called."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from localllm.comparison.measurement import ComparisonResult
from localllm.report.markdown import to_markdown
from localllm.report.page import to_html
from localllm.report.plots import to_png
from tests.report.examples import FAILED, HOSTILE_RESULT, TWELVE, WITHOUT_QUALITY, WITHOUT_SPEED

MOST_BYTES = 500_000
_VOID = {"meta", "link", "br", "img", "input", "hr"}
_SVG_ENDS = {"path", "use", "line", "rect"}  # written as <path/>
_LOADING = ("src", "srcset", "href", "xlink:href", "action", "data", "poster", "background", "formaction")


class Page(HTMLParser):
    """What is in a page; open elements are checked on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return to_html(TWELVE)


def assert_needs_nothing(text: str) -> None:
    parsed = Page(text)
    for tag, attributes in parsed.tags:
        for name in _LOADING:
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert not parsed.all("iframe")
    assert not parsed.all("img")
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in styles
    assert not re.findall(r"url\((?!#)", text)
    assert len(parsed.all("script")) == 1
    (policy,) = (meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
    assert (policy or "").startswith("default-src 'none'")


@pytest.mark.parametrize("result", [TWELVE, HOSTILE_RESULT, FAILED, WITHOUT_QUALITY, WITHOUT_SPEED])
def test_a_page_needs_nothing_else_and_is_small(result: ComparisonResult) -> None:
    text = to_html(result)
    assert_needs_nothing(text)
    assert len(text.encode()) < MOST_BYTES
    assert "\x1b" not in text


def test_everything_is_in_it(page: str) -> None:
    parsed = Page(page)
    text = parsed.text
    for level in (row.level for row in TWELVE.measurements):
        assert level in text
    for said in (
        "Q2_K is the smallest that keeps within the loss asked for.",
        "The quality of Q5_K_S and Q5_K_M could not be told apart on this text.",
        "Example CPU 9000, 2 cores, 8.00 GiB of memory, Linux 6.1 x86_64",
        "3,060 tokens of the model's own text, in 12 windows of 512",
        "What is inside a GGUF file?",
        "departs after 7 tokens",
        "90.0 % (93.0–97.5)",
        "The text is unlike a chat: no template is used (`--chat-format` wraps it).",
        "llama-cpp-python 0.3.36",
    ):
        assert said in text, said
    assert "<mark> of a model, and little else.</mark>" in page


def test_it_can_be_read_by_ear(page: str) -> None:
    parsed = Page(page)
    assert parsed.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert all(heading.get("scope") in ("col", "row") for heading in parsed.all("th"))
    drawings = parsed.all("svg")
    assert len(drawings) == 4  # each plot for a desktop and for a phone
    identifiers = [attributes["id"] for _, attributes in parsed.tags if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert set((drawing["aria-labelledby"] or "").split()) <= set(identifiers)
    for region in (attributes for _, attributes in parsed.tags if attributes.get("role") == "region"):
        assert region["tabindex"] == "0"
        assert region["aria-labelledby"] in identifiers


def test_light_and_dark_and_narrow(page: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in page
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in page


def test_the_same_comparison_gives_the_same_page(page: str) -> None:
    assert to_html(TWELVE) == page


def test_hostile_names_stay_text() -> None:
    text = to_html(HOSTILE_RESULT)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert "<script>alert(1)</script>|`x`](http://evil.example)" in Page(text).text


def test_names_that_are_no_utf_8_can_be_written() -> None:
    broken = "caf\udce9"
    rows = tuple(replace(row, level=broken) for row in TWELVE.measurements[:2])
    result = replace(TWELVE, model=broken, measurements=(*rows, TWELVE.measurements[-1]))
    assert "caf?" in to_html(result)
    to_html(result).encode("utf-8")
    to_markdown(result).encode("utf-8")
    assert to_png(result)


def test_what_failed_and_what_was_not_measured() -> None:
    assert "Q5_K_M failed: llama.cpp was killed by signal 9" in Page(to_html(FAILED)).text
    text = Page(to_html(WITHOUT_QUALITY)).text
    assert "There is nothing to plot" in text
    assert "KL divergence" not in text
