"""Will it run here: what fits into a memory and onto a GPU that are given."""

from __future__ import annotations

import pytest

from localllm.gguf_file.writer import uint32
from localllm.inspection.fit import Memory, memory_of
from localllm.memory import GPU_MARGIN_BYTES, MEMORY_SHARE, footprint_of
from localllm.native.library import Device
from tests.inspection.headers import TOKENS, model

GIB = 2**30
LAYER_BYTES = 64 * 1024 * 4
WEIGHTS = {
    "token_embd.weight": ((64, len(TOKENS)), "F32"),
    "output_norm.weight": ((64,), "F32"),
    **{f"blk.{layer}.ffn_up.weight": ((64, 1024), "F32") for layer in range(4)},
    "output.weight": ((64, len(TOKENS)), "F32"),
}
MODEL = model(tensors=WEIGHTS, layers=4, context=100_000)
FOOTPRINT = footprint_of(MODEL)
assert FOOTPRINT is not None


def gpu(free_bytes: int, name: str = "Card") -> Device:
    return Device(name, name, free_bytes, free_bytes, is_gpu=True)


def memory(available: int, *devices: Device) -> Memory:
    assert FOOTPRINT is not None
    return memory_of(MODEL, FOOTPRINT, devices, available)


def room_for(context: int, kind: str = "F16") -> int:
    """Return the free memory that is just enough for a context."""
    assert FOOTPRINT is not None
    return int(FOOTPRINT.running_bytes(MODEL.tensor_bytes, context, kind) / MEMORY_SHARE) + 2


def test_contexts_go_up_to_what_the_model_was_trained_for() -> None:
    found = memory(GIB)
    assert [each.context for each in found.contexts] == [2048, 4096, 8192, 32_768, 100_000]
    assert found.is_trained
    for each in found.contexts:
        assert each.total_bytes == MODEL.tensor_bytes + each.cache_bytes + each.buffer_bytes
        assert each.cache_q8_0_bytes < each.cache_bytes


def test_a_model_that_does_not_say_its_context() -> None:
    header = model({"llama.context_length": uint32(0)}, WEIGHTS)
    footprint = footprint_of(header)
    assert footprint is not None
    found = memory_of(header, footprint, (), GIB)
    assert [each.context for each in found.contexts] == [2048, 4096]
    assert not found.is_trained


def test_a_short_context_is_the_only_one() -> None:
    header = model(context=100)
    footprint = footprint_of(header)
    assert footprint is not None
    assert [each.context for each in memory_of(header, footprint, (), GIB).contexts] == [100]


@pytest.mark.parametrize("context", [256, 512, 25_600, 99_840])
def test_the_largest_context_just_fits(context: int) -> None:
    assert memory(room_for(context)).largest_context == context
    below = memory(room_for(context) - 4).largest_context
    assert below == (context - 256 or None)


def test_everything_fits_or_nothing_does() -> None:
    assert memory(GIB).largest_context == memory(GIB).largest_context_q8_0 == 100_000
    nothing = memory(1000)
    assert nothing.largest_context is nothing.largest_context_q8_0 is None
    assert not any(each.fits_memory or each.fits_memory_q8_0 for each in nothing.contexts)


def test_a_smaller_cache_reaches_further() -> None:
    found = memory(room_for(32_768, "Q8_0"))
    by_context = {each.context: each for each in found.contexts}
    assert not by_context[32_768].fits_memory
    assert by_context[32_768].fits_memory_q8_0
    assert found.largest_context is not None
    assert found.largest_context < 32_768 == found.largest_context_q8_0


def test_without_a_gpu_nothing_is_said_of_one() -> None:
    processor = Device("CPU", "CPU", GIB, GIB, is_gpu=False)
    found = memory(GIB, processor)
    assert found.gpu is None
    assert {each.fits_gpu for each in found.contexts} == {None}


def test_layers_are_put_on_the_gpu_from_the_output_backwards() -> None:
    assert FOOTPRINT is not None
    context = 8192
    layer = LAYER_BYTES + FOOTPRINT.layer_cache_bytes(FOOTPRINT.layers[0], context)
    output = 64 * 4 * len(TOKENS) + 64 * 4
    least = GPU_MARGIN_BYTES + FOOTPRINT.buffer_bytes(context) + output
    for layers in range(5):
        found = memory(GIB, gpu(least + layers * layer)).gpu
        assert found is not None
        assert (found.layers_that_fit, found.layers, found.context) == (layers + 1, 5, context)
        just_less = memory(GIB, gpu(least + layers * layer - 1)).gpu
        assert just_less is not None
        assert just_less.layers_that_fit == layers


def test_the_gpu_with_the_most_free_memory_is_taken() -> None:
    found = memory(GIB, gpu(GIB, "small"), gpu(2 * GIB, "large")).gpu
    assert found is not None
    assert found.name == "large"


def test_a_model_without_an_output_matrix_puts_its_embedding_there() -> None:
    tied = {name: value for name, value in WEIGHTS.items() if name != "output.weight"}
    header = model(tensors=tied, layers=4)
    footprint = footprint_of(header)
    assert footprint is not None
    least = GPU_MARGIN_BYTES + footprint.buffer_bytes(4096) + 64 * 4 * (len(TOKENS) + 1)
    for free, layers in ((least, 1), (least - 1, 0)):
        found = memory_of(header, footprint, [gpu(free)], GIB).gpu
        assert found is not None
        assert found.layers_that_fit == layers
