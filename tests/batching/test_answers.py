"""Answers of the batched engine are those the chat's engine gives, whoever else is in the batch."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from localllm.batching import BatchedEngine, GenerationRequest
from localllm.engine import EngineOptions, FinishReason, LlamaEngine, SamplingOptions
from localllm.errors import GenerationError, PromptTooLongError, UsageError
from tests.batching.asking import GREEDY, ask, chat, read_logits

QUESTIONS = (
    "Who are you?",
    "What can you do?",
    "How do I quantize a model?",
    "What is perplexity?",
    "hi",
    "What is a LoRA adapter?",
    "Tell me about the llamas of Peru",
    "What does top_p do?",
    "How do I convert a checkpoint?",
    "My name is Ada",
)


def test_many_at_once_get_the_answers_they_would_get_alone(engine: BatchedEngine, alone: LlamaEngine) -> None:
    clients = [ask(engine, question) for question in QUESTIONS]
    for question, client in zip(QUESTIONS, clients, strict=True):
        expected = alone.answer([{"role": "user", "content": question}], GREEDY)
        assert client.wait().text == expected.text
        assert client.reasons == {0: expected.finish_reason}
        assert client.usage is not None
        assert client.usage.prompt_tokens == expected.statistics.prompt_tokens
        assert client.usage.completion_tokens == expected.statistics.completion_tokens


def test_a_seed_gives_the_answers_of_the_chats_engine(engine: BatchedEngine, alone: LlamaEngine) -> None:
    options = SamplingOptions(temperature=2, top_p=1, top_k=0, min_p=0, seed=7, max_tokens=40, n=3)
    client = ask(engine, "qwe rty uio", options).wait()
    expected = alone.answers([{"role": "user", "content": "qwe rty uio"}], options)
    assert [client.texts[index] for index in range(3)] == [answer.text for answer in expected]
    assert len(set(client.texts.values())) == 3


@pytest.mark.parametrize("n", [2, 4, 9])
def test_more_answers_than_slots_come_in_turn(engine: BatchedEngine, n: int) -> None:
    client = ask(engine, "Who are you?", GREEDY.changed(n=n))
    other = ask(engine, "What is perplexity?")
    assert client.wait().texts == dict.fromkeys(range(n), ask(engine, "Who are you?").wait().text)
    assert set(client.reasons) == set(range(n))
    assert other.wait().text
    assert client.usage is not None
    assert client.usage.prompt_tokens == len(chat(engine, "Who are you?"))


def test_the_prompt_of_several_answers_is_read_once(engine: BatchedEngine) -> None:
    before = engine.load.totals
    ask(engine, "Who are you?", GREEDY.changed(n=4, max_tokens=1)).wait()
    after = engine.load.totals
    assert after.decode_calls == before.decode_calls + 1


def test_an_answer_ends_where_the_context_does(demo_path: Path) -> None:
    with BatchedEngine(demo_path, EngineOptions(context=64), parallel=2) as engine:
        options = SamplingOptions(temperature=0, logit_bias=((engine._loaded.model.eos, -100.0),))
        options = options.changed(grammar='root ::= "a" root')
        clients = [ask(engine, "Who are you?", options) for _ in range(4)]
        for client in clients:
            assert client.wait().reasons == {0: FinishReason.LENGTH}
            assert client.usage is not None
            assert (
                client.usage.prompt_tokens + client.usage.completion_tokens == 65
            )  # the last is not decoded
        with pytest.raises(PromptTooLongError, match="the context holds 64"):
            ask(engine, "a long question " * 20)


def test_stop_texts_never_show(engine: BatchedEngine) -> None:
    whole = ask(engine, "Who are you?").wait().text
    stop = whole[10:16]
    client = ask(engine, "Who are you?", GREEDY.changed(stop=[stop]), logprobs=0).wait()
    assert client.text == whole[: whole.find(stop)]
    assert client.reasons == {0: FinishReason.STOP}
    told = b"".join(choice.data for choice in client.choices[0]).decode()
    assert told.startswith(client.text)
    assert len(told) < len(client.text) + len(stop)


def test_letters_are_never_cut(bpe_path: Path) -> None:
    """Random weights say any bytes."""
    options = SamplingOptions(temperature=2, top_k=0, top_p=1, min_p=0, seed=3, max_tokens=60, n=4)
    with BatchedEngine(bpe_path, parallel=4) as engine:
        client = ask(engine, "é 中 😀", options, logprobs=0).wait()
    for index, text in client.texts.items():
        data = b"".join(choice.data for choice in client.choices[index])
        assert data.decode("utf-8", "replace") == text
    assert any(not text.isascii() for text in client.texts.values())


def test_probabilities_are_the_models_own(engine: BatchedEngine, alone: LlamaEngine) -> None:
    prompt = chat(engine, "Who are you?")
    options = SamplingOptions(temperature=2, seed=1, max_tokens=3, logit_bias=((5, 3.0),))
    client = ask(engine, prompt, options, logprobs=5).wait()
    tokens = [choice.token for choice in client.choices[0]]
    assert len(tokens) == 3
    for count, choice in enumerate(client.choices[0]):
        logits = read_logits(alone._workspace.context, [*prompt, *tokens[:count]]).astype(np.float64)
        expected = logits - np.log(np.exp(logits).sum())
        assert choice.logprob == pytest.approx(expected[choice.token], abs=0.02)
        assert len(choice.alternatives) == 5
        given = [logprob for _, _, logprob in choice.alternatives]
        assert given == sorted(given, reverse=True)
        assert given == pytest.approx(sorted(expected, reverse=True)[:5], abs=0.02)
        assert all(engine.text_of([token]).encode() == data for token, data, _ in choice.alternatives)
    assert sum(map(math.exp, given)) <= 1 + 1e-6
    alone._workspace.clear()


def test_no_probabilities_unless_asked_for(engine: BatchedEngine) -> None:
    assert ask(engine, "Who are you?").wait().choices == {0: []}
    with pytest.raises(UsageError, match="between 0 and 20"):
        GenerationRequest((1,), GREEDY, logprobs=21)


def test_constraints_hold_for_each_request_alone(engine: BatchedEngine) -> None:
    schema = json.dumps({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]})
    plain = ask(engine, "Who are you?")
    told = ask(engine, "Who are you?", GREEDY.changed(json_schema=schema))
    spelled = ask(engine, "Who are you?", GREEDY.changed(grammar='root ::= "yes" | "no"'))
    banned = chat(engine, "I")[-1]
    biased = ask(engine, "Who are you?", GREEDY.changed(logit_bias={str(banned): -100}))
    assert isinstance(json.loads(told.wait().text)["ok"], bool)
    assert spelled.wait().text in ("yes", "no")
    assert plain.wait().text == ask(engine, "Who are you?").wait().text
    assert biased.wait().text


def test_what_makes_no_sense_is_refused_at_once(engine: BatchedEngine) -> None:
    with pytest.raises(UsageError, match="the grammar is broken"):
        ask(engine, "hi", GREEDY.changed(grammar="root ::= ("))
    with pytest.raises(UsageError, match="logit_bias names token"):
        ask(engine, "hi", GREEDY.changed(logit_bias={"99999999": 1}))
    with pytest.raises(UsageError, match="is not a token"):
        ask(engine, [99999999])
    with pytest.raises(GenerationError, match="empty"):
        ask(engine, [])
    assert engine.load.totals.requests == 0


def test_a_grammar_that_cannot_be_followed_ends_its_request_alone(
    engine: BatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localllm.batching.answer import Answer

    take = Answer.take

    def fail(self: Answer, context: object, row: int) -> object:
        if self.job.prompt == list(chat(engine, "hi")):
            raise GenerationError("the grammar allows nothing")
        return take(self, context, row)  # type: ignore[arg-type]

    monkeypatch.setattr(Answer, "take", fail)
    failing, fine = ask(engine, "hi", GREEDY.changed(n=3)), ask(engine, "Who are you?")
    assert isinstance(failing.wait().error, GenerationError)
    assert fine.wait().text
    assert engine.load.totals.failed_requests == 1
    assert engine.load.busy_slots == 0
