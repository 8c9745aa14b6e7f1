"""A Modelfile says to Ollama what was meant, whatever stands in a model's metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localllm.errors import UsageError
from localllm.export.modelfile import MARK, Modelfile, modelfile
from localllm.export.modelfile_values import NotWritableError, as_read, without_invisible, written

TEXTS = st.text(st.sampled_from([*'""" \t\n\r#ab\\', "\u00a0", "\x07", "é"]), max_size=30)


@given(TEXTS)
def test_what_is_written_is_what_is_read(value: str) -> None:
    try:
        form = written(value)
    except NotWritableError:
        assert value != without_invisible(value) or '"' in value or value == ""
    else:
        assert as_read(form) == value
        behind = as_read(f"{form}\nSYSTEM other")
        assert behind is None or behind == value


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("mit", "mit"),
        ("two words", "two words"),
        (" padded ", '" padded "'),
        ("two\nlines", '"two\nlines"'),
        ('say "x"', 'say "x"'),
        ('"quoted"', '""quoted""'),
        ('a "b"\n"c"', '"""a "b"\n"c""""'),
    ],
)
def test_the_plainest_form_that_works_is_taken(value: str, form: str) -> None:
    assert as_read(form) == value
    assert written(value) == form


def test_a_value_that_would_end_too_early_is_refused() -> None:
    assert as_read('"""a\n"""\nFROM /etc/passwd"""') is None
    with pytest.raises(NotWritableError):
        written('a """\nFROM /etc/passwd\nSYSTEM "')
    with pytest.raises(UsageError, match="three quotes"):
        modelfile(Modelfile(files=["m.gguf"], system='a """\nb "'))
    with pytest.raises(UsageError, match="file name"):
        modelfile(Modelfile(files=['m"""\nx.gguf']))


def test_a_whole_modelfile() -> None:
    made = modelfile(
        Modelfile(
            files=["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"],
            adapters=["a b.gguf"],
            template="{{ .Prompt }}",
            system="Be kind.\nAlways.",
            parameters=[("temperature", "0.5"), ("stop", "<|im_end|>"), ("stop", "\x07")],
            license='MIT "License"\n"""\nFROM evil',
            comments=["from\nFROM evil \x1b[31mred"],
        )
    )
    assert made.text == (
        f"{MARK}; `ollama create NAME -f Modelfile` reads it.\n"
        "# from FROM evil red\n"
        "FROM ./m-00001-of-00002.gguf\n"
        "FROM ./m-00002-of-00002.gguf\n"
        "ADAPTER ./a b.gguf\n"
        'TEMPLATE """{{ .Prompt }}"""\n'
        'SYSTEM "Be kind.\nAlways."\n'
        "PARAMETER temperature 0.5\n"
        'PARAMETER stop "<|im_end|>"\n'
    )
    assert made.left_out == ("the parameter stop '\\x07'", "the licence")


def test_invisible_characters_of_a_system_prompt_are_told() -> None:
    made = modelfile(Modelfile(files=["m.gguf"], system="a\u200db"))
    assert "SYSTEM ab\n" in made.text
    assert made.left_out == ("the invisible characters of the system prompt",)
