"""How the slots are shared: what is read once, who waits for whom, who comes next, what a failure costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from localllm.batching import BatchedEngine
from localllm.engine import EngineOptions, LlamaEngine, SamplingOptions
from localllm.errors import GenerationError, QueueFullError
from localllm.native.context import Piece
from tests.batching.asking import ENDLESS, GREEDY, ROOMY, Client, Watch, ask, chat

LONG = "tell me more about everything " * 100


def test_what_was_read_before_is_not_read_again(engine: BatchedEngine) -> None:
    first = chat(engine, LONG)
    ask(engine, first).wait()
    again = ask(engine, first).wait()
    assert again.usage is not None
    assert again.usage.cached_tokens == len(first) - 1
    longer = [*first, *first[:20]]
    further = ask(engine, longer).wait()
    assert further.usage is not None
    assert further.usage.cached_tokens >= len(first)


def test_a_beginning_is_taken_from_a_busy_slot(engine: BatchedEngine) -> None:
    prompt = chat(engine, LONG)
    speaking = ask(engine, prompt, ENDLESS)
    assert speaking.first.wait(60)
    second = ask(engine, [*prompt, *prompt[:9]]).wait()
    assert second.usage is not None
    assert second.usage.cached_tokens == len(prompt)
    speaking.ticket.cancel()


def test_a_conversation_that_others_begin_alike_stays(engine: BatchedEngine) -> None:
    """A short question that shares the first words must not cost another client its conversation."""
    prompt = chat(engine, LONG)
    ask(engine, prompt).wait()
    for text in ("tell me more", "tell me", "tell"):
        ask(engine, text).wait()
    again = ask(engine, prompt).wait()
    assert again.usage is not None
    assert again.usage.cached_tokens == len(prompt) - 1


def test_a_long_prompt_is_read_between_the_tokens_of_others(engine: BatchedEngine) -> None:
    watch = Watch(engine)
    watch.hold()
    speaking = ask(engine, "Who are you?", ENDLESS)
    assert watch.held.wait(60)
    reading = ask(engine, LONG)
    short = ask(engine, "What is perplexity?")
    watch.go_on()
    assert reading.wait().usage is not None
    assert short.wait().usage is not None
    speaking.ticket.cancel()
    length = len(chat(engine, LONG))
    slices = [batch for batch in watch.batches if any(tokens > 1 for _, _, tokens in batch)]
    own = max(batch[0] for batch in slices if len(batch) == 1)[0]
    assert own == slices[0][0][0]  # the first prompt was read alone
    later = [batch for batch in slices[1:] if sum(tokens for *_, tokens in batch) > 2]
    assert len(later) >= length // 600
    assert all((own, 1) in [(sequence, tokens) for sequence, _, tokens in batch] for batch in later)
    # the short prompt does not wait until the long one is read
    first_of = {}
    for number, batch in enumerate(watch.batches):
        for sequence, start, tokens in batch:
            if start + tokens >= len(chat(engine, "What is perplexity?")) and sequence != own:
                first_of.setdefault(sequence, number)
    assert short.usage is not None
    assert short.usage.time_to_first_token_seconds < (reading.usage.time_to_first_token_seconds)


def test_cancelling_frees_the_slot_before_the_next_batch(demo_path: Path) -> None:
    with BatchedEngine(demo_path, ROOMY, parallel=2) as engine:
        speaking = [ask(engine, "Who are you?", ENDLESS), ask(engine, "hi", ENDLESS)]
        waiting = ask(engine, "What is perplexity?")
        assert all(client.first.wait(60) for client in speaking)
        assert engine.load.queued_requests == 1
        speaking[0].ticket.cancel()
        heard = speaking[0].deltas
        assert waiting.wait().text
        assert speaking[0].deltas == heard
        assert speaking[0].error is None
        speaking[0].ticket.cancel()  # again
        assert not speaking[1].over.is_set()
        speaking[1].ticket.cancel()
        assert ask(engine, "hi").wait().text
        assert engine.load.totals.cancelled_requests == 2
        assert engine.load.busy_slots == 0


def test_cancelling_while_the_prompt_is_read(engine: BatchedEngine) -> None:
    watch = Watch(engine)
    length = len(chat(engine, LONG))
    clients: list[Client] = []

    def cancel(pieces: Sequence[Piece]) -> bool:
        if any(piece.start > length // 4 and len(piece.tokens) > 1 for piece in pieces):
            clients[0].ticket.cancel()
        return True

    watch.hold()
    clients.append(ask(engine, LONG, GREEDY.changed(n=2)))
    watch.on_batch = cancel
    watch.go_on()
    after = ask(engine, "What is perplexity?").wait()
    assert after.text
    assert clients[0].deltas == 0
    read = max(start + tokens for batch in watch.batches for _, start, tokens in batch)
    assert read < length
    kept = ask(engine, LONG).wait()  # what was read is not lost
    assert kept.usage is not None
    assert kept.usage.cached_tokens >= length // 4


def test_cancelling_in_the_queue(demo_path: Path) -> None:
    with BatchedEngine(demo_path, ROOMY, parallel=1) as engine:
        speaking = ask(engine, "Who are you?", ENDLESS)
        assert speaking.first.wait(60)
        waiting = ask(engine, "hi")
        waiting.ticket.cancel()
        assert engine.load.queued_requests == 0
        speaking.ticket.cancel()
        assert ask(engine, "hi").wait().text
        assert waiting.deltas == 0


def test_a_callback_may_cancel_its_own_request(engine: BatchedEngine) -> None:
    watch = Watch(engine)
    watch.hold()
    client = ask(engine, "Who are you?", ENDLESS)
    deliver = client.deliver

    def cancel_after(delta: object) -> None:
        deliver(delta)  # type: ignore[arg-type]
        client.ticket.cancel()

    client.ticket._callbacks = (cancel_after, client.fail)
    watch.go_on()
    assert ask(engine, "hi").wait().text
    assert client.deltas == 1


def test_a_full_queue_refuses_and_says_when_to_come_again(demo_path: Path) -> None:
    with BatchedEngine(demo_path, ROOMY, parallel=1, queue=2) as engine:
        speaking = ask(engine, "Who are you?", ENDLESS)
        assert speaking.first.wait(60)
        waiting = [ask(engine, "hi"), ask(engine, "What is perplexity?")]
        with pytest.raises(QueueFullError, match="2 requests are waiting") as refused:
            ask(engine, "hi")
        assert 1 <= refused.value.retry_after_seconds <= 60
        assert engine.load.totals.refused_requests == 1
        speaking.ticket.cancel()
        assert all(client.wait().text for client in waiting)


def test_no_queue_at_all_still_serves_as_many_as_there_are_slots(demo_path: Path) -> None:
    with BatchedEngine(demo_path, ROOMY, parallel=2, queue=0) as engine:
        watch = Watch(engine)
        watch.hold()
        clients = [ask(engine, "hi"), ask(engine, "Who are you?")]
        with pytest.raises(QueueFullError):
            ask(engine, "hi")
        watch.go_on()
        assert all(client.wait().text for client in clients)


def test_many_answers_do_not_hold_up_a_later_request(demo_path: Path) -> None:
    with BatchedEngine(demo_path, ROOMY, parallel=2) as engine:
        watch = Watch(engine)
        watch.hold()
        many = ask(engine, "Who are you?", GREEDY.changed(n=20))
        one = ask(engine, "What is perplexity?")
        watch.go_on()
        end = one.wait().ended_at[0]
        assert set(many.wait().reasons) == set(range(20))
        assert sum(each < end for each in many.ended_at.values()) < 10


def test_a_small_cache_has_them_wait_for_room(
    demo_path: Path, monkeypatch: pytest.MonkeyPatch, alone: LlamaEngine
) -> None:
    from localllm.engine.sizing import Sizing

    monkeypatch.setattr(Sizing, "fits", lambda self, size, current=0: size <= 512)
    with BatchedEngine(demo_path, EngineOptions(context=256), parallel=8) as engine:
        assert engine._loaded.pool.cells == 512
        greedy = SamplingOptions(temperature=0)  # may take all of its context each
        clients = [ask(engine, text, greedy) for text in ("hi", "Who are you?", "My name is Ada") * 4]
        assert all(client.wait().text for client in clients)
    assert clients[1].text == alone.answer([{"role": "user", "content": "Who are you?"}], greedy).text


def test_a_failed_batch_costs_those_alone_who_fail(engine: BatchedEngine) -> None:
    expected = ask(engine, "Who are you?").wait().text
    watch = Watch(engine)
    bad = chat(engine, "My name is Ada")

    def refuse(pieces: Sequence[Piece]) -> bool:
        if any(tuple(piece.tokens)[-5:] == bad[-5:] for piece in pieces):
            raise GenerationError("llama.cpp cannot decode")
        return True

    watch.on_batch = refuse
    watch.hold()
    fine = ask(engine, "Who are you?")
    failing = ask(engine, bad)
    watch.go_on()
    assert isinstance(failing.wait().error, GenerationError)
    assert fine.wait().text == expected
    assert engine.load.busy_slots == 0


def test_in_a_full_cache_the_latest_gives_way_and_reads_again(engine: BatchedEngine) -> None:
    texts = ("Who are you?", "What is perplexity?", "My name is Ada")
    expected = [ask(engine, text).wait().text for text in texts]
    watch = Watch(engine)
    watch.hold()
    clients = [ask(engine, text) for text in texts]
    batches = iter(range(10**6))
    watch.on_batch = lambda pieces: len(pieces) < 3 or next(batches) % 3 > 1
    watch.go_on()
    assert [client.wait().text for client in clients] == expected
    assert next(batches) > 2


def test_what_does_not_fit_alone_fails(engine: BatchedEngine) -> None:
    watch = Watch(engine)
    watch.on_batch = lambda pieces: False
    client = ask(engine, "Who are you?").wait()
    assert isinstance(client.error, GenerationError)
    watch.on_batch = lambda pieces: True
    assert ask(engine, "Who are you?").wait().text
