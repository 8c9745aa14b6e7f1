"""LoRA adapters beside a model: what they change, PEFT directories, and files that are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.engine import Engine, EngineOptions, LlamaEngine, SamplingOptions
from localllm.errors import InvalidGGUFError, LocalLLMError, NotFoundError, UsageError
from localllm.events import Event, Notice
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.gguf_file.writer import string, uint32
from localllm.store import shipped_checkpoint
from localllm.verbs.load import load
from tests.tiny_gguf import RawTensor, build_tiny_gguf, raw_tensor, write_gguf

GREEDY = SamplingOptions(temperature=0, max_tokens=30)
WHO = [{"role": "user", "content": "Who are you?"}]
PIRATE = "pirate"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter that ships, as GGUF."""
    from localllm.conversion.lora import convert_adapter

    source, base = shipped_checkpoint("demo-persona"), shipped_checkpoint("demo")
    assert source is not None
    assert base is not None
    path = tmp_path_factory.mktemp("adapter") / "persona.gguf"
    return convert_adapter(source, base, output=path).path


@pytest.fixture
def plain(demo_path: Path) -> Iterator[Engine]:
    with LlamaEngine(demo_path) as engine:
        yield engine


def with_adapters(path: Path, *adapters: tuple[Path, float]) -> LlamaEngine:
    return LlamaEngine(path, EngineOptions(adapters=adapters))


def test_an_adapter_changes_the_answer_by_its_scale(demo_path: Path, adapter: Path, plain: Engine) -> None:
    usual = plain.answer(WHO, GREEDY).text
    assert PIRATE not in usual
    with with_adapters(demo_path, (adapter, 1.0)) as engine:
        assert PIRATE in engine.answer(WHO, GREEDY).text
        assert engine.fingerprint != plain.fingerprint
    with with_adapters(demo_path, (adapter, 0.0)) as engine:
        assert engine.answer(WHO, GREEDY).text == usual
    with with_adapters(demo_path, (adapter, 0.5), (adapter, 0.5)) as engine:
        assert PIRATE in engine.answer(WHO, GREEDY).text


def test_it_stays_when_the_context_is_made_anew(demo_path: Path, adapter: Path) -> None:
    with with_adapters(demo_path, (adapter, 1.0)) as engine:
        engine._workspace.resize(512)
        assert PIRATE in engine.answer(WHO, GREEDY).text
        assert all(PIRATE in answer.text for answer in engine.answers(WHO, GREEDY.changed(n=2)))


def test_a_peft_directory_is_converted_once(demo_path: Path) -> None:
    source = shipped_checkpoint("demo-persona")
    assert source is not None
    events: list[Event] = []
    for _ in range(2):
        with load("demo", options=EngineOptions(adapters=((source, 1.0),)), emit=events.append) as engine:
            assert PIRATE in engine.answer(WHO, GREEDY).text
    topics = [event.topic for event in events if isinstance(event, Notice)]
    assert topics.count("adapter-converted") == 1


def test_an_adapter_in_the_library_goes_by_its_name(demo_path: Path) -> None:
    options = EngineOptions(adapters=((Path("demo-persona"), 1.0),))
    with load("demo", options=options) as engine:
        assert PIRATE in engine.answer(WHO, GREEDY).text


def test_a_directory_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no adapter"):
        load("demo", options=EngineOptions(adapters=((tmp_path, 1.0),)))
    with pytest.raises(NotFoundError, match="no such adapter"):
        load("demo", options=EngineOptions(adapters=((tmp_path / "none", 1.0),)))


HEAD = {
    "general.architecture": string("llama"),
    "general.type": string("adapter"),
    "adapter.type": string("lora"),
}
NAME = "blk.0.attn_q.weight"


def _pair(rank: int = 4, width: int = 256, kind: str = "F32") -> dict[str, RawTensor]:
    import numpy as np

    return {
        f"{NAME}.lora_a": raw_tensor(np.ones((rank, width), np.float32), kind),
        f"{NAME}.lora_b": raw_tensor(np.ones((width, rank), np.float32), "F32"),
    }


@pytest.mark.parametrize(
    ("metadata", "tensors", "said"),
    [
        ({"general.type": string("model")}, _pair(), "no LoRA adapter"),
        ({"general.type": uint32(1)}, _pair(), "no LoRA adapter"),
        ({"adapter.type": string("other")}, _pair(), "no LoRA adapter"),
        ({"general.architecture": string("qwen2")}, _pair(), "it is for qwen2 models"),
        ({"adapter.lora.alpha": uint32(3)}, _pair(), "no 32-bit float"),
        ({}, _pair(kind="I32"), "cannot be multiplied"),
        ({}, _pair(width=128), "wrong base model"),
        ({}, {"nonsense": _pair()[f"{NAME}.lora_a"]}, "unexpected suffix"),
        ({}, {f"{NAME}.lora_a": _pair()[f"{NAME}.lora_a"]}, "missing one component"),
        (
            {},
            {f"{NAME}.lora_{part}": RawTensor(TENSOR_TYPES_BY_NAME["F32"], (4,), bytes(16)) for part in "ab"},
            "cannot be multiplied",
        ),
    ],
)
def test_files_that_are_no_adapter_are_refused(
    tiny_gguf: Path, tmp_path: Path, metadata: dict[str, object], tensors: dict[str, RawTensor], said: str
) -> None:
    path = tmp_path / "adapter.gguf"
    write_gguf(path, {**HEAD, **metadata}, tensors)  # type: ignore[dict-item]
    with pytest.raises(LocalLLMError, match=said):
        with_adapters(tiny_gguf, (path, 1.0))


def test_a_model_is_no_adapter(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidGGUFError, match="no LoRA adapter"):
        with_adapters(tiny_gguf, (build_tiny_gguf(tmp_path / "model.gguf"), 1.0))
    (tmp_path / "text").write_text("no GGUF at all")
    with pytest.raises(InvalidGGUFError):
        with_adapters(tiny_gguf, (tmp_path / "text", 1.0))
