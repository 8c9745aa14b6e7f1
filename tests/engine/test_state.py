"""Saved states: they go on as if nothing had happened; whatever is wrong with one is an error, no crash."""

from __future__ import annotations

import json
import os
import random
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localllm.engine import EngineOptions, LlamaEngine, SamplingOptions
from localllm.errors import StateError, StorageError
from tests.engine.tiny_models import build_hybrid, build_mamba, build_windowed

GREEDY = SamplingOptions(temperature=0, max_tokens=24)
QUESTION = [{"role": "user", "content": "What is GGUF?"}]
LONG = EngineOptions(context=4096)


@pytest.fixture(scope="module", params=["demo", "windowed", "mamba", "hybrid"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "windowed":
        return build_windowed(directory)
    if request.param == "mamba":
        return build_mamba(directory / "mamba.gguf")
    if request.param == "hybrid":
        return build_hybrid(directory / "hybrid.gguf")
    found: Path = request.getfixturevalue("demo_path")
    return found


@pytest.fixture(scope="module")
def saved(demo_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state of the demo model."""
    state = tmp_path_factory.mktemp("state") / "state"
    with LlamaEngine(demo_path) as engine:
        engine.answer(QUESTION, GREEDY)
        engine.save_state(state)
    return state


def go_on(engine: LlamaEngine, tokens: list[int], steps: int) -> list[int]:
    """Return the likeliest next tokens, one after another."""
    found = []
    for step in range(steps):
        known = engine._workspace.read([*tokens, *found], lambda: False)
        assert step or known == len(tokens) - 2  # nothing but the two new ones is read
        found.append(int(engine._workspace.context.logits_at(-1).argmax()))
    return found


@pytest.mark.parametrize("length", [40, 1700])
def test_greedy_goes_on_the_same_after_a_restore(path: Path, tmp_path: Path, length: int) -> None:
    generator = random.Random(length)
    text = "".join(generator.choice("abcdefgh ") for _ in range(length))
    with LlamaEngine(path, LONG) as engine:
        assert engine.can_keep_state
        engine.answer([{"role": "user", "content": text}], GREEDY)
        held = list(engine._workspace.tokens)
        info = engine.save_state(tmp_path / "state")
        expected = go_on(engine, [*held, 5, 6], 60)
    assert info.tokens == len(held)
    assert info.size_bytes == (tmp_path / "state").stat().st_size
    with LlamaEngine(path, LONG) as restored:
        restored.answer([{"role": "user", "content": "something else"}], GREEDY)
        assert restored.load_state(tmp_path / "state") == len(held)
        assert restored._workspace.tokens == held
        assert go_on(restored, [*held, 5, 6], 60) == expected


def test_a_conversation_goes_on_without_reading_it_again(demo_path: Path, saved: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        said = engine.answer(QUESTION, GREEDY)
    more = [*QUESTION, {"role": "assistant", "content": said.text}, {"role": "user", "content": "And LoRA?"}]
    with LlamaEngine(demo_path) as engine:
        count = engine.load_state(saved)
        answer = engine.answer(more, GREEDY)
        assert answer.statistics.cached_tokens >= count - 2
    with LlamaEngine(demo_path) as fresh:
        assert fresh.answer(more, GREEDY).text == answer.text


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_only_the_owner_may_read_it(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def _cut(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:size] if size >= 0 else data[: len(data) + size]


def _flip(at: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        place = min(len(data) - 1, int(at * len(data)))
        return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]

    return flip


@pytest.mark.parametrize(
    "damage",
    [
        *(_cut(size) for size in (0, 1, 7, 16, 100, 5000, -1, -9, -200)),
        *(_flip(at / 40) for at in range(41)),
        lambda data: b"LLMSTATE" * 100,
        lambda data: data + b"x",
        lambda data: data + data,
        lambda data: os.urandom(len(data)),
        lambda data: b"GGUF" + data[4:],
    ],
)
def test_a_damaged_state_is_an_error(
    demo_path: Path, saved: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(damage(saved.read_bytes()))
    with LlamaEngine(demo_path) as engine, pytest.raises(StateError):
        engine.load_state(broken)


@pytest.mark.parametrize(
    "change", [{"tokens": 1}, {"tokens": 10**12}, {"tokens": "x"}, {"size_bytes": -1}, {"version": 2}]
)
def test_a_seal_that_lies_is_an_error(
    demo_path: Path, saved: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    data = saved.read_bytes()
    length = int.from_bytes(data[-16:-8], "little")
    seal = {**json.loads(data[-16 - length : -16]), **change}
    encoded = json.dumps(seal).encode()
    broken = tmp_path / "broken"
    broken.write_bytes(data[: -16 - length] + encoded + len(encoded).to_bytes(8, "little") + data[-8:])
    with LlamaEngine(demo_path) as engine, pytest.raises(StateError):
        engine.load_state(broken)


def test_after_a_damaged_state_the_engine_works(demo_path: Path, saved: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(saved.read_bytes()[:-40])
    with LlamaEngine(demo_path) as engine:
        expected = engine.answer(QUESTION, GREEDY).text
        with pytest.raises(StateError):
            engine.load_state(broken)
        with pytest.raises(StateError, match="cannot be read"):
            engine.load_state(tmp_path / "missing")
        assert engine.answer(QUESTION, GREEDY).text == expected


@pytest.mark.parametrize(
    "options",
    [
        EngineOptions(cache_type_k="q8_0"),
        EngineOptions(cache_type_v="f32"),
        EngineOptions(flash_attention="off"),
        EngineOptions(template="{{ messages[0].content }}"),
    ],
)
def test_a_state_of_other_settings_is_refused(demo_path: Path, saved: Path, options: EngineOptions) -> None:
    with LlamaEngine(demo_path, options) as engine, pytest.raises(StateError, match="other settings"):
        engine.load_state(saved)


def test_a_state_of_another_model_is_refused(spm_path: Path, saved: Path) -> None:
    with LlamaEngine(spm_path) as engine, pytest.raises(StateError, match="another model"):
        engine.load_state(saved)


def test_the_fingerprint_tells_what_matters(demo_path: Path, tmp_path: Path) -> None:
    def fingerprint(path: Path, options: EngineOptions | None = None) -> str:
        with LlamaEngine(path, options or EngineOptions()) as engine:
            return engine.fingerprint

    own = fingerprint(demo_path)
    assert own == fingerprint(demo_path, EngineOptions(context=512, threads=1))  # a state fits these too
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(demo_path.read_bytes())
    os.utime(copy, ns=(1, 1))
    assert fingerprint(copy) != own


def test_a_state_needs_room(demo_path: Path, tmp_path: Path) -> None:
    with LlamaEngine(demo_path, EngineOptions(context=768)) as engine:
        engine.answer([{"role": "user", "content": "a b c d e f g " * 40}], GREEDY)
        held = engine.save_state(tmp_path / "state").tokens
    assert held > 256
    with LlamaEngine(demo_path, EngineOptions(context=256)) as small, pytest.raises(StateError, match="256"):
        small.load_state(tmp_path / "state")


def test_an_empty_engine_has_no_state(demo_path: Path, tmp_path: Path) -> None:
    with LlamaEngine(demo_path) as engine, pytest.raises(StateError, match="no state"):
        engine.save_state(tmp_path / "state")


def test_a_place_that_cannot_be_written_is_an_error(demo_path: Path, tmp_path: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        engine.answer(QUESTION, replace(GREEDY, max_tokens=1))
        with pytest.raises(StorageError):
            engine.save_state(tmp_path / "none" / "state")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_an_error(demo_path: Path) -> None:
    with LlamaEngine(demo_path) as engine:
        engine.answer(QUESTION, replace(GREEDY, max_tokens=1))
        with pytest.raises(StorageError):
            engine.save_state(Path("/dev/full"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_directory_whose_name_is_no_text_will_do(demo_path: Path, tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"h\xff")
    directory.mkdir()
    with LlamaEngine(demo_path) as engine:
        engine.answer(QUESTION, GREEDY)
        assert engine.save_state(directory / "state").tokens == engine.load_state(directory / "state")
