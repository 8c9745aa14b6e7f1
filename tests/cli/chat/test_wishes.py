"""What a command line of `chat` means, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm import sessions
from localllm.chatting import Chat
from localllm.cli.chat.wishes import Plan, Wishes, planned
from localllm.engine import EngineOptions, SamplingOptions, ScriptedEngine


def plan_of(wishes: Wishes) -> Plan:
    plan = planned(wishes)
    if plan.memory:
        plan.memory.close()
    return plan


def test_nothing_asked_for_is_the_demo_with_defaults() -> None:
    plan = plan_of(Wishes())
    assert (plan.model, plan.prompt, plan.system) == ("demo", None, None)
    assert (plan.sampling, plan.engine) == (SamplingOptions(), EngineOptions())
    assert plan.memory is not None


@pytest.mark.parametrize(
    ("text", "path", "scale"),
    [
        ("adapter", "adapter", 1.0),
        ("adapter.gguf:0.5", "adapter.gguf", 0.5),
        ("adapter:-1", "adapter", -1.0),
        ("C:\\adapters\\one", "C:\\adapters\\one", 1.0),
        ("name:latest", "name:latest", 1.0),
    ],
)
def test_adapters_have_scales(text: str, path: str, scale: float) -> None:
    assert plan_of(Wishes(lora=[text])).engine.adapters == ((Path(path), scale),)


def test_the_engine_gets_its_options() -> None:
    wishes = Wishes(
        context="512", gpu_layers="7", cache_type="Q8_0,f16", flash_attention="on", template="chatml"
    )
    engine = plan_of(wishes).engine
    assert (engine.context, engine.gpu_layers) == (512, 7)
    assert (engine.cache_type_k, engine.cache_type_v) == ("q8_0", "f16")
    assert engine.template is not None
    assert plan_of(Wishes(cache_type="q8_0")).engine.cache_type_v == "q8_0"


def test_a_session_knows_its_model() -> None:
    with Chat(ScriptedEngine(["Hi"]), model="mine:Q8_0", memory=sessions.open_session("s")) as chat:
        list(chat.ask("Hello"))
    plan = plan_of(Wishes(continues=True))
    assert (plan.model, plan.is_resumed) == ("mine:Q8_0", True)
    plan = plan_of(Wishes(session="s", model="other", prompt="Hello"))
    assert (plan.model, plan.prompt, plan.is_resumed) == ("other", "Hello", False)
    plan = plan_of(Wishes(continues=True, model="What is my name?"))
    assert (plan.model, plan.prompt) == ("mine:Q8_0", "What is my name?")
