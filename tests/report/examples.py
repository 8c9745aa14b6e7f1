"""Comparisons made by hand: twelve levels with everything, hostile names, failures."""

from __future__ import annotations

from dataclasses import replace

from localllm.comparison.measurement import (
    Advice,
    ComparisonResult,
    GreedyAnswer,
    Machine,
    Measurement,
    Settings,
    Speed,
    TaskScore,
    Uncertain,
)

HOSTILE = "<script>alert(1)</script>|`x`\x1b[31m](http://evil.example)"

# level, MiB, bits per weight, prompt and generation tok/s, perplexity, KL, p99, same top token, RMS Δp
_FIGURES = (
    ("Q2_K", 1.63, 3.72, 5210, 402.1, 2.1432, 0.02113, 0.3011, 0.9512, 0.0412),
    ("Q3_K_S", 1.79, 4.09, 5011, 388.0, 2.1391, 0.01402, 0.2104, 0.9608, 0.0349),
    ("Q3_K_M", 1.93, 4.41, 4980, 381.5, 2.1302, 0.00905, 0.1502, 0.9704, 0.0281),
    ("Q3_K_L", 2.06, 4.70, 4921, 370.3, 2.1288, 0.00821, 0.1402, 0.9719, 0.0269),
    ("Q4_0", 2.16, 4.93, 6120, 412.9, 2.1301, 0.00699, 0.1190, 0.9722, 0.0251),
    ("Q4_K_S", 2.17, 4.95, 5401, 398.7, 2.1240, 0.00341, 0.0590, 0.9811, 0.0176),
    ("Q4_K_M", 2.29, 5.23, 5322, 391.2, 2.1231, 0.00312, 0.0541, 0.9822, 0.0166),
    ("Q5_0", 2.56, 5.85, 4720, 352.4, 2.1209, 0.00161, 0.0281, 0.9871, 0.0121),
    ("Q5_K_S", 2.57, 5.87, 4701, 349.0, 2.1202, 0.00102, 0.0190, 0.9893, 0.0098),
    ("Q5_K_M", 2.63, 6.01, 4655, 346.1, 2.1200, 0.00098, 0.0181, 0.9899, 0.0096),
    ("Q6_K", 2.96, 6.76, 4402, 320.9, 2.1191, 0.00041, 0.0079, 0.9931, 0.0062),
    ("Q8_0", 3.79, 8.65, 5904, 299.3, 2.1187, 0.00009, 0.0016, 0.9968, 0.0029),
)
_PROMPT = "What is inside a GGUF file?"
_RIGHT = "A GGUF file holds the weights, the tokenizer and the metadata of a model."
_WRONG = "A GGUF file holds the weights of a model, and little else."
_DEPARTS = len("A GGUF file holds the weights")

SETTINGS = Settings(
    threads=2,
    repetitions=5,
    prompt_tokens=512,
    generated_tokens=128,
    depth=0,
    context_size=512,
    chunks=12,
    evaluated_tokens=3060,
    texts=("eval.txt",),
    text_source="model",
    chat_format=False,
    max_kl_divergence=0.03,
    min_same_top_token=0.95,
)
MACHINE = Machine(
    processor="Example CPU 9000",
    cores=2,
    memory_bytes=8 * 2**30,
    system="Linux 6.1 x86_64",
    devices=(),
    localllm="0.1.0",
    llama_cpp_python="0.3.36",
)


def _speed(value: float, share: float) -> Speed:
    samples = tuple(round(value * (1 + share * step), 3) for step in (-2, -1, 0, 1, 2))
    return Speed(value, value * share / 2, samples[0], samples[-1], samples)


def _measurement(index: int) -> Measurement:
    level, size, bits, prompt, generation, perplexity, kl, p99, same, rms = _FIGURES[index]
    size_bytes = round(size * 2**20)
    differs = level.startswith(("Q2", "Q3"))
    return Measurement(
        level=level,
        path=f"models/demo/demo-{level}.gguf",
        size_bytes=size_bytes,
        bits_per_weight=bits,
        parameters=3_672_320,
        sha256=f"{index:064x}",
        share_of_reference=size / 7.01,
        load_seconds=0.0101 + index / 1000,
        cold_load_seconds=0.0302 + index / 1000,
        peak_memory_bytes=size_bytes + 60 * 2**20,
        estimated_memory_bytes=size_bytes + 55 * 2**20,
        prompt_tokens_per_second=_speed(prompt, 0.012),
        generation_tokens_per_second=_speed(generation, 0.02),
        perplexity=Uncertain(perplexity, 0.0402),
        perplexity_ratio=Uncertain(perplexity / 2.117, 0.0021 * kl**0.5 * 8),
        kl_divergence=Uncertain(kl, kl * 0.08),
        kl_divergence_p99=Uncertain(p99, p99 * 0.2),
        same_top_token=Uncertain(same, 0.0031),
        rms_delta_p=Uncertain(rms, rms * 0.06),
        answers=(
            GreedyAnswer(_PROMPT, _WRONG, 14, 7, _DEPARTS) if differs else GreedyAnswer(_PROMPT, _RIGHT, 17),
        ),
        tasks=(
            TaskScore(
                "heldout",
                395 - 2 * (12 - index),
                412,
                0.93,
                0.975,
                (TaskScore("facts", 313, 326, 0.93, 0.975), TaskScore("memory", 82, 86, 0.89, 0.98)),
            ),
        ),
    )


REFERENCE = replace(
    _measurement(11),
    level="BF16",
    path="models/demo/demo-BF16.gguf",
    size_bytes=round(7.01 * 2**20),
    bits_per_weight=16.0,
    is_reference=True,
    share_of_reference=1.0,
    prompt_tokens_per_second=_speed(3204, 0.012),
    generation_tokens_per_second=_speed(201.2, 0.02),
    perplexity=Uncertain(2.1170, 0.0401),
    perplexity_ratio=None,
    kl_divergence=None,
    kl_divergence_p99=None,
    same_top_token=None,
    rms_delta_p=None,
)
TWELVE = ComparisonResult(
    id="20261125-230000-abcd",
    model="demo",
    started="2026-11-25T23:00:00+00:00",
    reference="BF16",
    measurements=(*(_measurement(index) for index in range(12)), REFERENCE),
    settings=SETTINGS,
    machine=MACHINE,
    notes=("the text is unlike a chat: no template is used (`--chat-format` wraps it)",),
    undecided=(("Q5_K_S", "Q5_K_M"), ("Q4_K_S", "Q4_K_M")),
    advice=Advice(
        smallest="Q2_K",
        fastest=("Q4_0", "Q2_K"),
        fitting=("Q2_K", "Q4_K_M"),
        context_size=4096,
        sentences=(
            "Q2_K is the smallest that keeps within the loss asked for",
            "Q4_0 and Q2_K are the fastest; they cannot be told apart",
            "All of them fit this machine's free memory with a context of 4096 tokens",
            "The quality of Q5_K_S and Q5_K_M could not be told apart on this text",
        ),
    ),
)
FAILED_ROW = Measurement(
    "Q5_K_M",
    "models/demo/demo-Q5_K_M.gguf",
    round(2.63 * 2**20),
    6.01,
    3_672_320,
    error="llama.cpp was killed by signal 9",
)
FAILED = replace(
    TWELVE,
    measurements=(TWELVE.measurements[0], FAILED_ROW, REFERENCE),
    undecided=(),
    notes=(),
    advice=Advice(),
)
HOSTILE_RESULT = replace(
    TWELVE,
    model=HOSTILE,
    reference=HOSTILE,
    measurements=(
        replace(
            TWELVE.measurements[0],
            level=HOSTILE,
            path=f"{HOSTILE}.gguf",
            answers=(GreedyAnswer(HOSTILE, HOSTILE, 3, 1, 4),),
            tasks=(TaskScore(HOSTILE, 1, 2, 0.1, 0.9),),
        ),
        replace(FAILED_ROW, error=HOSTILE),
        REFERENCE,
    ),
    settings=replace(SETTINGS, texts=(HOSTILE,)),
    machine=replace(MACHINE, processor=HOSTILE, devices=(HOSTILE,)),
    notes=(HOSTILE,),
    undecided=((HOSTILE, "BF16"),),
    advice=Advice(smallest=HOSTILE, sentences=(HOSTILE,)),
)
# what a comparison has with `--no-quality` and with `--no-speed`
WITHOUT_QUALITY = replace(
    TWELVE,
    measurements=tuple(
        replace(
            row,
            perplexity=None,
            perplexity_ratio=None,
            kl_divergence=None,
            kl_divergence_p99=None,
            same_top_token=None,
            rms_delta_p=None,
            answers=(),
            tasks=(),
        )
        for row in TWELVE.measurements
    ),
    settings=replace(SETTINGS, evaluated_tokens=0, chunks=0),
    undecided=(),
)
WITHOUT_SPEED = replace(
    TWELVE,
    measurements=tuple(
        replace(row, prompt_tokens_per_second=None, generation_tokens_per_second=None)
        for row in TWELVE.measurements
    ),
)
