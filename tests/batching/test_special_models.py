"""Models with windows or a state: side by side, one behind the other and fanned out, nothing changes."""

from __future__ import annotations

from pathlib import Path

from localllm.batching import BatchedEngine
from localllm.engine import EngineOptions, LlamaEngine, SamplingOptions
from tests.batching.asking import ask
from tests.engine.test_cache import letters

GREEDY = SamplingOptions(temperature=0, max_tokens=8)


def expected(path: Path, text: str) -> str:
    with LlamaEngine(path, EngineOptions(context=512)) as engine:
        return engine.answer([{"role": "user", "content": text}], GREEDY).text


def test_side_by_side(two_slots: BatchedEngine, special_path: Path) -> None:
    texts = [letters(120, seed) for seed in range(4)]
    clients = [ask(two_slots, text, GREEDY) for text in texts]
    assert [client.wait().text for client in clients] == [expected(special_path, text) for text in texts]


def test_several_answers(two_slots: BatchedEngine, special_path: Path) -> None:
    text = letters(120)
    client = ask(two_slots, text, GREEDY.changed(n=3)).wait()
    assert set(client.texts.values()) == {expected(special_path, text)}


def test_going_back_and_on(two_slots: BatchedEngine, special_path: Path) -> None:
    text = letters(150)
    for kept in (150, 149, 100, 20):
        asked = text[:kept] + letters(10, seed=kept)
        assert ask(two_slots, asked, GREEDY).wait().text == expected(special_path, asked)


def test_what_a_slot_holds_is_used_where_it_may(two_slots: BatchedEngine) -> None:
    prompt = two_slots.text_prompt(letters(100))
    ask(two_slots, prompt, GREEDY.changed(max_tokens=1)).wait()
    longer = ask(two_slots, [*prompt, *prompt[1:9]], GREEDY).wait()
    assert longer.usage is not None
    assert longer.usage.cached_tokens == len(prompt)
