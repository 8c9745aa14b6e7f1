"""A crowd: requests of every kind at once, some given up anywhere; the others get what they get alone."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from localllm.batching import BatchedEngine
from localllm.engine import EngineOptions, LlamaEngine, SamplingOptions
from tests.batching.asking import Client, ask
from tests.batching.test_answers import QUESTIONS

STOP = SamplingOptions(temperature=0, max_tokens=30)


def test_a_crowd(demo_path: Path, alone: LlamaEngine) -> None:
    expected = {text: alone.answer([{"role": "user", "content": text}], STOP).text for text in QUESTIONS}
    with BatchedEngine(demo_path, EngineOptions(context=512), parallel=5, queue=1000) as engine:
        wrong: list[str] = []

        def visit(seed: int) -> None:
            generator = random.Random(seed)
            for _ in range(12):
                text = generator.choice(QUESTIONS)
                many = generator.choice((1, 1, 2, 7))
                logprobs = generator.choice((None, 0, 3))
                client = ask(engine, text, STOP.changed(n=many), logprobs)
                if generator.random() < 0.4:
                    client.first.wait(generator.random() * 0.05)
                    client.ticket.cancel()
                elif dict.fromkeys(range(many), expected[text]) != client.wait().texts:
                    wrong.append(f"{text}: {client.texts}, {client.error}")

        threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        last: Client = ask(engine, QUESTIONS[0], STOP)
        assert last.wait().text == expected[QUESTIONS[0]]
        load = engine.load
    totals = load.totals
    assert wrong == []
    assert (load.busy_slots, load.queued_requests, totals.failed_requests) == (0, 0, 0)
    assert totals.requests == totals.finished_requests + totals.cancelled_requests == 8 * 12 + 1
    assert totals.cached_tokens > 0
