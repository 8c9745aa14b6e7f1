"""Model references: what each spelling means, and `parse(str(ref)) == ref`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localllm.errors import UsageError
from localllm.refs import ModelRef, RefKind

SPELLINGS = {
    "demo": ModelRef(RefKind.LIBRARY, "demo"),
    "demo:Q4_K_M": ModelRef(RefKind.LIBRARY, "demo", "Q4_K_M"),
    "demo:q4_k_m": ModelRef(RefKind.LIBRARY, "demo", "Q4_K_M"),
    "my-finetune.v2:q8_0": ModelRef(RefKind.LIBRARY, "my-finetune.v2", "Q8_0"),
    "./model": ModelRef(RefKind.PATH, "./model"),
    "./my-finetune:Q4_K_M": ModelRef(RefKind.PATH, "./my-finetune", "Q4_K_M"),
    "~/models/a.gguf": ModelRef(RefKind.PATH, "~/models/a.gguf"),
    "/models/a.gguf": ModelRef(RefKind.PATH, "/models/a.gguf"),
    "../a": ModelRef(RefKind.PATH, "../a"),
    "model.gguf": ModelRef(RefKind.PATH, "model.gguf"),
    "MODEL.GGUF": ModelRef(RefKind.PATH, "MODEL.GGUF"),
    "dir/model.gguf": ModelRef(RefKind.PATH, "dir/model.gguf"),
    "a/b/c/model.gguf": ModelRef(RefKind.PATH, "a/b/c/model.gguf"),
    r"C:\models\a.gguf": ModelRef(RefKind.PATH, r"C:\models\a.gguf"),
    "C:/models/checkpoint:Q8_0": ModelRef(RefKind.PATH, "C:/models/checkpoint", "Q8_0"),
    "a b/c d": ModelRef(RefKind.PATH, "a b/c d"),
    "org/repo": ModelRef(RefKind.HUB, "org/repo"),
    "org/repo:Q4_K_M": ModelRef(RefKind.HUB, "org/repo", "Q4_K_M"),
    "org/repo@main": ModelRef(RefKind.HUB, "org/repo", None, "main"),
    "org/repo@0a1b:q8_0": ModelRef(RefKind.HUB, "org/repo", "Q8_0", "0a1b"),
    "hf.co/org/repo:Q8_0": ModelRef(RefKind.HUB, "org/repo", "Q8_0"),
    "hf:org/repo": ModelRef(RefKind.HUB, "org/repo"),
    "hf:org/model.gguf": ModelRef(RefKind.HUB, "org/model.gguf"),
    "https://huggingface.co/org/repo": ModelRef(RefKind.HUB, "org/repo"),
    "org/repo/file.gguf": ModelRef(RefKind.HUB, "org/repo", None, None, "file.gguf"),
    "https://hf.co/org/repo/sub/file.gguf": ModelRef(RefKind.HUB, "org/repo", None, None, "sub/file.gguf"),
    "org/repo/FILE.GGUF": ModelRef(RefKind.HUB, "org/repo", None, None, "FILE.GGUF"),
    "org/repo:ud-q4_k_xl": ModelRef(RefKind.HUB, "org/repo", "UD-Q4_K_XL"),
    "org/repo@refs/pr/1:Q8_0": ModelRef(RefKind.HUB, "org/repo", "Q8_0", "refs/pr/1"),
    "https://huggingface.co/org/repo/": ModelRef(RefKind.HUB, "org/repo"),
    "https://huggingface.co/org/repo/tree/main": ModelRef(RefKind.HUB, "org/repo", None, "main"),
    "https://huggingface.co/org/repo/blob/main/a/b.gguf": ModelRef(
        RefKind.HUB, "org/repo", None, "main", "a/b.gguf"
    ),
    "https://huggingface.co/org/repo/resolve/v2/b.gguf?download=true": ModelRef(
        RefKind.HUB, "org/repo", None, "v2", "b.gguf"
    ),
    "https://example.org/models/a.gguf": ModelRef(RefKind.URL, "https://example.org/models/a.gguf"),
    "http://127.0.0.1:8000/a.gguf?x=1": ModelRef(RefKind.URL, "http://127.0.0.1:8000/a.gguf?x=1"),
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings(text: str) -> None:
    assert ModelRef.parse(text) == SPELLINGS[text]


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="empty") as caught:
        ModelRef.parse(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["demo:Q4 K M", "org/repo:4bit!", "demo:a:b"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a quantization level"):
        ModelRef.parse(text)


@pytest.mark.parametrize("text", ["hf:demo", "hf.co/", "https://hf.co/a b/c", "hf:./path"])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="does not name a hub repository"):
        ModelRef.parse(text)


def test_the_hub_may_have_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8000/")
    assert ModelRef.parse("http://127.0.0.1:8000/org/repo:q8_0") == ModelRef(RefKind.HUB, "org/repo", "Q8_0")


NAMES = ("a", "B-1", "org/repo", "x.gguf", "Q4_K_M", "q8_0", "main", "ü")
MARKS = ("/", ".", "..", "~", ":", "@", " ", "\\", "hf:", "hf.co/", "https://hf.co/", "C:", "?")
MARKS = (*MARKS, "https://", "/resolve/main/")
PARTS = st.sampled_from((*NAMES, *MARKS))


@given(st.lists(PARTS, min_size=1, max_size=6).map("".join) | st.text(min_size=1, max_size=12))
@example("hf.co/org/x.gguf")
@example("https://hf.co/org/repo/sub/file.gguf")
@example("demo\n")
def test_parsing_what_is_printed_gives_the_same(text: str) -> None:
    try:
        ref = ModelRef.parse(text)
    except UsageError:
        return
    assert ModelRef.parse(str(ref)) == ref
