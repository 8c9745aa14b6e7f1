"""What is told of a header, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import Key, ValueType
from localllm.gguf_file.writer import TypedValue, array, boolean, float32, string, uint32
from localllm.inspection import HeaderFile, Kind, ModelDescription, describe_set, join_headers
from localllm.inspection.dimensions import Experts, Window
from localllm.inspection.identity import identity_of
from tests.inspection.headers import TOKENS, header, model, vocabulary


def described(found: GGUFHeader) -> ModelDescription:
    return describe_set(join_headers("model.gguf", [HeaderFile("model.gguf", found)]), devices=())


def topics(found: GGUFHeader) -> list[str]:
    return [problem.topic for problem in described(found).problems]


def test_a_sound_model_has_no_problems() -> None:
    found = described(model())
    assert found.problems == ()
    assert (found.kind, found.architecture, found.parameters) == (Kind.MODEL, "llama", 64 * len(TOKENS) + 64)


def test_identity() -> None:
    found = identity_of(
        header(
            {
                "general.author": string("Ada"),
                "general.organization": string("Analytical"),
                "general.license": string("other"),
                "general.license.name": string("engine-1"),
                "general.license.link": string("https://example.org/engine"),
                "general.finetune": string("Instruct"),
                "general.size_label": string("7B"),
                "general.quantized_by": string("someone"),
                "general.base_model.count": uint32(2),
                "general.base_model.0.name": string("Base"),
                "general.base_model.0.repo_url": string("https://huggingface.co/org/Base-7B"),
                "general.base_model.1.name": string("Other"),
                "general.base_model.1.organization": string("Lab"),
                "general.languages": array(ValueType.STRING, ["en", "de"]),
                "general.tags": array(ValueType.UINT32, [1, 2]),
                "general.source.repo_url": string("https://huggingface.co/org/Tuned"),
            }
        )
    )
    assert (found.author, found.organization, found.finetune) == ("Ada", "Analytical", "Instruct")
    assert (found.license, found.license_name) == ("other", "engine-1")
    assert found.base_models == ("org/Base-7B", "Lab/Other")
    assert found.languages == ("en", "de")
    assert found.tags == ()
    assert found.source_url == "https://huggingface.co/org/Tuned"


def test_a_claim_of_many_base_models_is_not_believed() -> None:
    found = identity_of(header({"general.base_model.count": uint32(2**32 - 1)}))
    assert found.base_models == ()


def test_dimensions_and_positions() -> None:
    dimensions = described(
        model(
            {
                "llama.rope.freq_base": float32(500_000.0),
                "llama.rope.scaling.type": string("yarn"),
                "llama.rope.scaling.factor": float32(4.0),
                "llama.rope.scaling.original_context_length": uint32(1024),
                "llama.attention.key_length": uint32(32),
            }
        )
    ).dimensions
    assert dimensions is not None
    assert (dimensions.layers, dimensions.embedding_length, dimensions.context_length) == (2, 64, 4096)
    assert (dimensions.heads, dimensions.kv_heads) == ((4,), (2,))
    assert (dimensions.key_length, dimensions.value_length) == (32, 16)
    assert (dimensions.rope.base, dimensions.rope.scaling) == (500_000.0, "yarn")
    assert (dimensions.rope.factor, dimensions.rope.original_context_length) == (4.0, 1024)


def test_heads_that_differ_per_layer() -> None:
    dimensions = described(
        model(
            {
                "llama.attention.head_count_kv": array(ValueType.INT32, [4, 1]),
                "llama.feed_forward_length": array(ValueType.INT32, [256, 128]),
            }
        )
    ).dimensions
    assert dimensions is not None
    assert dimensions.kv_heads == (1, 4)
    assert dimensions.feed_forward_length == (128, 256)


@pytest.mark.parametrize(
    ("architecture", "window"),
    [("gemma2", Window(1024, 1)), ("gemma3", Window(1024, 2)), ("llama", Window(1024, 0))],
)
def test_windows_are_those_llama_cpp_uses(architecture: str, window: Window) -> None:
    extra = {f"{architecture}.attention.sliding_window": uint32(1024)}
    dimensions = described(model(extra, architecture=architecture)).dimensions
    assert dimensions is not None
    assert dimensions.window == window


def test_recurrent_layers_are_counted() -> None:
    extra = {
        "mamba.ssm.conv_kernel": uint32(4),
        "mamba.ssm.inner_size": uint32(128),
        "mamba.ssm.state_size": uint32(16),
    }
    dimensions = described(model(extra, architecture="mamba")).dimensions
    assert dimensions is not None
    assert dimensions.recurrence is not None
    assert dimensions.recurrence.layers == 2
    assert dimensions.recurrence.state_bytes == 2 * 4 * (3 * 128 + 16 * 128)


@pytest.mark.parametrize("used", [uint32(2), array(ValueType.UINT32, [2, 4])])
def test_active_parameters_are_those_of_the_experts_used(used: TypedValue) -> None:
    tensors = {
        "token_embd.weight": ((64, len(TOKENS)), "F32"),
        "blk.0.ffn_up_exps.weight": ((64, 32, 8), "F16"),
        "blk.1.ffn_up_exps.weight": ((64, 32, 8), "F16"),
        "blk.1.ffn_up_shexp.weight": ((64, 32), "F16"),
    }
    extra = {"llama.expert_count": uint32(8), "llama.expert_used_count": used}
    found = described(model(extra, tensors))
    of_second = 2 if used.item_type is None else 4
    assert found.parameters == 64 * len(TOKENS) + 17 * 64 * 32
    assert found.active_parameters == 64 * len(TOKENS) + (2 + of_second + 1) * 64 * 32
    assert found.dimensions is not None
    assert found.dimensions.experts == Experts(8, max(2, of_second))


def test_types_are_shared_out_by_their_bytes() -> None:
    tensors = {
        "token_embd.weight": ((256, len(TOKENS)), "Q6_K"),
        "a.weight": ((256, 4), "Q4_K"),
        "b.weight": ((256, 4), "Q4_K"),
        "output_norm.weight": ((256,), "F32"),
    }
    found = described(model(tensors=tensors))
    assert [(share.type, share.tensors) for share in found.types] == [("Q6_K", 1), ("Q4_K", 2), ("F32", 1)]
    assert sum(share.size_bytes for share in found.types) == 6 * 210 + 8 * 144 + 1024
    assert found.bits_per_weight == pytest.approx((6 * 210 + 8 * 144 + 1024) * 8 / (6 * 256 + 9 * 256))


def test_special_tokens_and_what_ends_an_answer() -> None:
    extra = {
        "tokenizer.ggml.eot_token_id": uint32(5),
        "tokenizer.ggml.padding_token_id": uint32(99),
        "tokenizer.ggml.add_bos_token": boolean(True),
    }
    found = described(model(extra)).vocabulary
    assert found is not None
    assert [(token.role, token.id, token.text) for token in found.special] == [
        ("bos", 1, "<s>"),
        ("eos", 2, "</s>"),
        ("eot", 5, "<|im_end|>"),
        ("unk", 0, "<unk>"),
        ("pad", 99, None),
    ]
    assert found.special[0].added is True
    assert found.special[1].added is None
    assert found.ends == ("</s>", "<|im_end|>")


@pytest.mark.parametrize(
    ("texts", "ends"),
    [
        (["</s>", "<|tool_response>"], ("<|tool_response>",)),
        (["<|end|>", "<|return|>", "<|call|>"], ("<|return|>", "<|call|>")),
        (["<|end|>", "<|return|>"], ("<|end|>", "<|return|>")),
    ],
)
def test_texts_that_are_no_ends_beside_others(texts: list[str], ends: tuple[str, ...]) -> None:
    """llama.cpp takes `</s>` of Gemma 4 and `<|end|>` of gpt-oss for ordinary tokens."""
    found = described(header({**vocabulary(["a", "b", *texts])})).vocabulary
    assert found is not None
    assert found.ends == ends


def test_ends_are_found_wherever_they_are() -> None:
    """In a vocabulary of megabytes: in front, at the end, and in the middle if nowhere else."""
    plain = [f"token number {index:020d}" for index in range(60_000)]
    for place in (0, 30_000, 59_999):
        tokens = [*plain[:place], "<|im_end|>", *plain[place:]]
        found = described(header({**vocabulary(tokens)}))
        assert found.vocabulary is not None
        assert found.vocabulary.ends[-1] == "<|im_end|>"
    longer = described(header({**vocabulary(["x<|im_end|>", "<|im_end|>x", *plain[:100]])}))
    assert longer.vocabulary is not None
    assert "<|im_end|>" not in longer.vocabulary.ends


def test_sampling_settings() -> None:
    extra = {"general.sampling.temp": float32(0.5), "general.sampling.top_k": uint32(20)}
    assert described(model(extra)).sampling == {"temp": 0.5, "top_k": 20}


def test_a_template_names_what_it_knows() -> None:
    text = "{% if tools %}{{ tools }}{% endif %}{% if r == 'user' or r == \"tool\" %}<think>{% endif %}"
    found = described(model({str(Key.CHAT_TEMPLATE): string(text)})).template
    assert found is not None
    assert (found.roles, found.tools, found.thinking) == (("user", "tool"), True, True)


PROBLEMS: dict[str, tuple[Mapping[str, Any], str, str]] = {
    "no template": ({str(Key.CHAT_TEMPLATE): string("")}, "chat-template", "no chat template"),
    "broken template": (
        {str(Key.CHAT_TEMPLATE): string("{% for m in messages %}\n{{ m }}")},
        "chat-template",
        "a `for` is never closed",
    ),
    "unusual end": ({"tokenizer.ggml.eos_token_id": uint32(3)}, "end-of-sequence", "`a` is not a usual one"),
    "token outside": (
        {"tokenizer.ggml.bos_token_id": uint32(6)},
        "special-token",
        "outside the vocabulary of 6",
    ),
    "no context": ({"llama.context_length": uint32(0)}, "context", "a context of 0 tokens"),
    "alignment": ({str(Key.ALIGNMENT): uint32(64)}, "alignment", "aligned to 64 bytes"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_of_the_metadata(name: str) -> None:
    extra, topic, words = PROBLEMS[name]
    (problem,) = described(model(extra)).problems
    assert problem.topic == topic
    assert words in problem.message


def test_no_token_that_ends_an_answer() -> None:
    found = header({**vocabulary(["a", "b"]), str(Key.CHAT_TEMPLATE): string("x")})
    assert "end-of-sequence" in topics(found)
    assert any("no token ends an answer" in problem.message for problem in described(found).problems)


def test_no_end_of_sequence_is_named() -> None:
    found = header({**vocabulary(["a", "<|im_end|>"]), str(Key.CHAT_TEMPLATE): string("x")})
    messages = [problem.message for problem in described(found).problems]
    assert messages == ["no end-of-sequence token is named; answers end with `<|im_end|>`"]


def test_an_embedding_of_another_size() -> None:
    (problem,) = described(model(tensors={"token_embd.weight": ((64, 7), "F32")})).problems
    assert problem.message.startswith("the vocabulary has 6 tokens, the embedding 7 rows")


def test_tensors_that_fell_back() -> None:
    tensors = {
        "token_embd.weight": ((512, len(TOKENS)), "Q4_K"),
        **{f"blk.{layer}.ffn_down.weight": ((96, 4), "Q5_0") for layer in range(3)},
    }
    (problem,) = described(model({str(Key.FILE_TYPE): uint32(15)}, tensors)).problems
    assert problem.message == (
        "3 tensors do not fit the level's block and are stored in another type (rows of 96)"
    )


def test_a_quantization_version_from_elsewhere() -> None:
    tensors = {"token_embd.weight": ((32, len(TOKENS)), "Q4_0")}
    assert topics(model({str(Key.QUANTIZATION_VERSION): uint32(2)}, tensors)) == []
    assert topics(model({str(Key.QUANTIZATION_VERSION): uint32(1)}, tensors)) == ["quantization-version"]


def test_an_architecture_that_llama_cpp_does_not_know() -> None:
    assert topics(model(architecture="alien9")) == ["architecture"]
    assert topics(model(architecture="qwen3")) == []
    assert topics(model({str(Key.ARCHITECTURE): string("")})) == ["architecture"]


def test_weights_without_a_vocabulary() -> None:
    tokens = {str(Key.TOKENS): uint32(0)}
    assert topics(model(tokens)) == ["vocabulary"]


def test_a_vocabulary_alone() -> None:
    found = described(header({**vocabulary(eos=2)}))
    assert found.kind is Kind.VOCABULARY
    assert found.memory is None
    assert found.problems == ()


def test_a_projector() -> None:
    found = described(
        header(
            {
                str(Key.TYPE): string("mmproj"),
                "clip.has_vision_encoder": boolean(True),
                "clip.projector_type": string("mlp"),
                "clip.vision.image_size": uint32(336),
                "clip.vision.patch_size": uint32(14),
                "clip.vision.block_count": uint32(24),
                "clip.audio.block_count": uint32(3),
                "clip.audio.projector_type": string("ultravox"),
            },
            {"v.blk.0.attn_q.weight": ((64, 64), "F16")},
            architecture="clip",
        )
    )
    assert found.kind is Kind.PROJECTOR
    assert [(each.modality, each.projector, each.layers) for each in found.encoders] == [
        ("vision", "mlp", 24),
        ("audio", "ultravox", 3),
    ]
    assert found.encoders[0].image_size == 336
    assert found.problems == ()


def test_an_adapter() -> None:
    tensors = {
        f"blk.{layer}.attn_{name}.weight.lora_{part}": (shape, "F16")
        for layer in range(2)
        for name in "qv"
        for part, shape in (("a", (64, 4)), ("b", (4, 64)))
    }
    metadata = {
        str(Key.TYPE): string("adapter"),
        "adapter.type": string("lora"),
        "adapter.lora.alpha": float32(8.0),
        "general.base_model.count": uint32(1),
        "general.base_model.0.name": string("Base"),
    }
    found = described(header(metadata, tensors))
    assert found.kind is Kind.ADAPTER
    assert found.adapter is not None
    assert (found.adapter.rank, found.adapter.alpha, found.adapter.layers) == ((4,), 8.0, 2)
    assert found.adapter.modules == {"attn_q": 2, "attn_v": 2}
    assert found.adapter.base_model == "Base"
    assert found.problems == ()
    del tensors["blk.0.attn_q.weight.lora_b"]
    (problem,) = described(header(metadata, tensors)).problems
    assert problem.message == "`blk.0.attn_q.weight` has only one of lora_a and lora_b"
