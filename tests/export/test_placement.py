"""Files are put elsewhere by link or copy, all or none, and nothing is written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localllm.errors import NotFoundError, UsageError
from localllm.export import placement
from localllm.export.placement import How, place, plan
from localllm.export.places import lmstudio_models


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for number, path in enumerate(made):
        path.write_bytes(bytes([number]) * 1000)
    return made


def test_links_then_finds_them_there(parts: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "other" / "models"
    assert [each.how for each in plan(parts, target)] == [How.PLANNED] * 2
    assert not target.exists()
    placed = place(parts, target)
    assert [(each.path, each.how, each.size_bytes) for each in placed] == [
        (target / path.name, How.LINKED, 1000) for path in parts
    ]
    assert all(each.path.samefile(path) for each, path in zip(placed, parts, strict=True))
    assert [each.how for each in place(parts, target)] == [How.THERE] * 2


def test_a_link_of_the_hub_cache_is_followed(parts: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "snapshot.gguf"
    link.symlink_to(parts[0])
    (placed,) = place([link], tmp_path / "x")
    assert placed.path.name == "snapshot.gguf"
    assert not placed.path.is_symlink()
    assert placed.path.samefile(parts[0])


def test_copies_where_links_do_not_work(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(placement, "_clone", lambda *_: False)
    placed = place(parts, tmp_path / "x")
    assert [each.how for each in placed] == [How.COPIED] * 2
    assert placed[1].path.read_bytes() == parts[1].read_bytes()
    assert not placed[1].path.samefile(parts[1])
    assert [each.how for each in place(parts, tmp_path / "x")] == [How.THERE] * 2


def test_something_else_is_left_alone_and_nothing_of_the_set_remains(
    parts: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "x"
    target.mkdir()
    other = target / parts[1].name
    other.write_bytes(b"\x07" * 1000)
    with pytest.raises(UsageError, match="something else"):
        place(parts, target)
    assert other.read_bytes() == b"\x07" * 1000
    assert list(target.iterdir()) == [other]


def test_what_is_ours_is_replaced(parts: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "x"
    place(parts, target)
    parts[0].unlink()
    parts[0].write_bytes(b"new" * 500)
    with pytest.raises(UsageError):
        place(parts, target)
    assert [each.how for each in place(parts, target, [parts[0].name])] == [How.LINKED, How.THERE]
    assert (target / parts[0].name).samefile(parts[0])
    assert sorted(path.name for path in target.iterdir()) == [path.name for path in parts]


def test_what_was_placed_goes_again_when_a_later_file_fails(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, calls = os.link, []

    def fail_second(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        link(source, target)

    monkeypatch.setattr(os, "link", fail_second)
    with pytest.raises(KeyboardInterrupt):
        place(parts, tmp_path / "x")
    assert list((tmp_path / "x").iterdir()) == []


def test_lm_studio_is_found_as_it_finds_itself(pinned_environment: Path) -> None:
    home = pinned_environment
    with pytest.raises(NotFoundError, match="no LM Studio"):
        lmstudio_models()
    (home / ".lmstudio").mkdir()
    assert lmstudio_models() == home / ".lmstudio" / "models"
    (home / ".cache" / "lm-studio").mkdir(parents=True)
    assert lmstudio_models() == home / ".cache" / "lm-studio" / "models"
    (home / "own").mkdir()
    (home / ".lmstudio-home-pointer").write_text(f"{home / 'own'}\n")
    assert lmstudio_models() == home / "own" / "models"
    settings = home / "own" / "settings.json"
    settings.write_text('{"downloadsFolder": "/elsewhere/models"}')
    assert lmstudio_models() == Path("/elsewhere/models")
    settings.write_text("[[[broken")
    assert lmstudio_models() == home / "own" / "models"
