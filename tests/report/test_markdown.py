"""Markdown shows exactly what was measured, and what comes from a model stays text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from localllm.control_filter import clean
from localllm.report.markdown import escape, to_markdown
from tests.report.examples import FAILED, HOSTILE_RESULT, TWELVE


def rendered(text: str) -> str:
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)


def shown(text: str) -> str:
    """Return the plain text that a reader sees of a paragraph of Markdown."""
    (_, inline, _) = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(text)
    assert all(child.type == "text" or child.type == "text_special" for child in inline.children or ())
    return "".join(child.content for child in inline.children or ())


@given(st.text(alphabet=st.sampled_from("ab_*`[]()<>#|~&$\\-+=1.) \n\t!\x1b:/@"), max_size=30))
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    line = " ".join(clean(text).split())
    if line:
        assert shown(escape(text)) == line


def test_names_stay_readable() -> None:
    assert escape("demo-Q4_K_M") == "demo-Q4_K_M"
    assert escape("a | b") == r"a \| b"
    assert escape("see https://x.example and www.x.example") == (
        "see https&#58;//x.example and www&#46;x.example"
    )


def test_a_table_with_everything() -> None:
    html = rendered(to_markdown(TWELVE))
    assert html.count("<table>") == 3
    assert html.count('<td style="text-align:right">') == 13 * 15 + 13 * 3
    assert "<li>Q2_K is the smallest that keeps within the loss asked for</li>" in html
    assert "the weights <strong>▸</strong> of a model" in html


def test_what_failed() -> None:
    lines = to_markdown(FAILED).splitlines()
    assert lines[3] == "| Q5_K_M | 2.63 MiB | 6.01 |" + " – |" * 13
    assert lines[6] == "Q5_K_M failed: llama.cpp was killed by signal 9"
    assert lines[-1].startswith("<sub>Measured with localllm 0.1.0, llama-cpp-python 0.3.36 on Example CPU")
    assert "Quality against BF16: 3,060 tokens of the model's own text, in 12 windows of 512" in lines[-1]


def test_hostile_names_stay_text() -> None:
    text = to_markdown(HOSTILE_RESULT)
    html = rendered(text)
    assert "<script" not in html
    assert "<a " not in html
    assert "\x1b" not in text
    assert html.count("<table>") == 4  # figures, tasks, two prompts: no name began or ended one
