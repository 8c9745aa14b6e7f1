"""Front matter: entries are added, and nothing else changes by a byte."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from localllm.report.front_matter import with_entries

ENTRIES = {"base_model": "org/base", "license": "mit"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "---\nbase_model: org/base\nlicense: mit\ntags:\n- gguf\n---\n"),
        (
            "# Title\n",
            "---\nbase_model: org/base\nlicense: mit\ntags:\n- gguf\n---\n\n# Title\n",
        ),
        (
            "---\n# mine\nlicense:   apache-2.0 # really\nextra: {a: [1, 2]}\n---\nText\n",
            "---\n# mine\nlicense:   apache-2.0 # really\nextra: {a: [1, 2]}\n"
            "base_model: org/base\ntags:\n- gguf\n---\nText\n",
        ),
        (
            "---\r\nlicense: mit\r\ntags:\r\n  - llama # small\r\n  - demo\r\nlanguage: en\r\n"
            "---\r\nText\r\n",
            "---\r\nlicense: mit\r\ntags:\r\n  - llama # small\r\n  - demo\r\n  - gguf\r\nlanguage: en\r\n"
            "base_model: org/base\r\n---\r\nText\r\n",
        ),
        (
            "---\ntags: [a, 'b']  # two\nlicense: mit\nbase_model: x/y\n---\n",
            "---\ntags: [a, 'b', gguf]  # two\nlicense: mit\nbase_model: x/y\n---\n",
        ),
        (
            "---\ntags: []\nlicense: mit\nbase_model: x/y\n---\n",
            "---\ntags: [gguf]\nlicense: mit\nbase_model: x/y\n---\n",
        ),
        (
            "---\ntags:\nlicense: mit\nbase_model: x/y\n---\n",
            "---\ntags: [gguf]\nlicense: mit\nbase_model: x/y\n---\n",
        ),
        (
            "---\ntags: llama\nlicense: mit\nbase_model: x/y\n---",
            '---\ntags: ["llama", gguf]\nlicense: mit\nbase_model: x/y\n---',
        ),
        (
            "---\ntags:\n- a\n- gguf\nlicense: mit\nbase_model: x/y\n---\n",
            "---\ntags:\n- a\n- gguf\nlicense: mit\nbase_model: x/y\n---\n",
        ),
        (
            "\ufeff---\nlicense: mit\nbase_model: x/y\n---\n",
            "\ufeff---\nlicense: mit\nbase_model: x/y\ntags:\n- gguf\n---\n",
        ),
        (
            "---\n---\nText",
            "---\nbase_model: org/base\nlicense: mit\ntags:\n- gguf\n---\nText",
        ),
    ],
)
def test_entries_are_added_and_the_rest_stays(before: str, after: str) -> None:
    assert with_entries(before, ENTRIES, ["gguf"]) == after
    assert with_entries(after, ENTRIES, ["gguf"]) == after
    assert "gguf" in yaml.safe_load(after.lstrip("\ufeff").split("---")[1])["tags"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("---\na: [1\n---\n", "no valid YAML"),
        ("---\na: 1\n", "has no end"),
        ("---\n- a\n---\n", "no list of entries"),
        ("---\n{a: 1}\n---\n", "not written as lines"),
        (f"---\na: {'[' * 3000}\n---\n", "no valid YAML"),
        ("---\na: !!python/object/apply:os.getcwd []\n---\n", "no valid YAML"),
    ],
)
def test_what_cannot_be_added_to_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        with_entries(text, ENTRIES, ["gguf"])


def test_values_of_strangers_stay_values() -> None:
    text = with_entries("", {"license": "mit\nevil: yes", "base_model": ["a/b", "!!x: [y"]}, ["gguf"])
    assert yaml.safe_load(text.split("---")[1]) == {
        "license": "mit\nevil: yes",
        "base_model": ["a/b", "!!x: [y"],
        "tags": ["gguf"],
    }


_NAMES = st.text(alphabet="abc_", min_size=1, max_size=6)
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=5))
)


@given(st.dictionaries(_NAMES, _VALUES), st.text(max_size=40))
def test_whatever_was_there_stays(entries: dict[str, object], body: str) -> None:
    inner = yaml.safe_dump(entries) if entries else ""
    before = f"---\n{inner}---\n{body}"
    after = with_entries(before, {"base_model": "org/base"}, ["gguf"])
    assert after.startswith(f"---\n{inner}")
    assert after.endswith(f"---\n{body}")
    added = after[len(f"---\n{inner}") : len(after) - len(f"---\n{body}")]
    assert yaml.safe_load(inner + added) == {**entries, "base_model": "org/base", "tags": ["gguf"]}
