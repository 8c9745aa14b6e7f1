#!/usr/bin/env python3
"""Measure answering beside llama.cpp's own tools and the stock Python binding, in turns, as ratios.

    python scripts/bench_chat.py MODEL.gguf [--bench LLAMA_BENCH] [--completion LLAMA_COMPLETION]
                                 [--threads 2] [--rounds 5] [--conversation 2000] [--json FILE]

In each round every contestant runs once, each a process of its own that loads the model and warms up, so that
whatever else the machine does meets all of them. Every other round goes backwards: a machine that gets
slower or faster favours none:

    own          localllm's engine: 512 tokens of prompt, then 128 tokens of an answer, sampled and as text
    llama-bench  pp512 and tg128 with batches of 512, which samples nothing and makes no text
    binding      llama_cpp.Llama: the same prompt and answer through create_completion(stream=True), with as
                 many threads; and "binding alone", with what it chooses itself
    start        `localllm chat MODEL PROMPT`, made to answer with a word: from its start to the first byte
    llama start  llama-completion with the same prompt, likewise
    resume       a conversation of --conversation tokens: time to the first token after its state was loaded
                 from disk, and after it was read anew, in an engine that is loaded already

"disturbed" is the most that other programs used of a processor while a contestant ran (Linux only). Threads
that wait for each other suffer from that out of all proportion, so rounds above --quiet are left out of the
ratios when there are others.

LLAMA_BENCH and LLAMA_COMPLETION are llama.cpp's tools, best built from the sources the binding ships. Random
weights will do. What is printed are medians and ranges of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROMPT_TOKENS = 512
ANSWER_TOKENS = 128
_SEED = 1
_START_PROMPT = "Hello, my name is"
_WORDS = ("time", "house", "river", "the", "of", "green", "light", "and", "walk", "paper", "never", "stone")

Sample = dict[str, float]


def main() -> None:
    """Run the rounds, or be one of the contestants."""
    arguments = parse_arguments()
    if arguments.contestant:
        print(json.dumps(CONTESTANTS[arguments.contestant](arguments)))
        return
    arguments.word = run_contestant("word", arguments)["word"]
    rounds: list[Sample] = []
    for number in range(arguments.rounds):
        rounds.append(one_round(arguments, backwards=number % 2 == 1))
        print(
            f"{number + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in rounds[-1].items()),
            flush=True,
        )
    ratios = report(rounds, arguments.quiet)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rounds": rounds, "ratios": ratios}, indent=1))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--bench", type=Path, help="llama.cpp's llama-bench")
    parser.add_argument("--completion", type=Path, help="llama.cpp's llama-completion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--conversation", type=int, default=2000, help="tokens; 0 leaves resuming out")
    parser.add_argument("--quiet", type=float, default=0.15, help="how much a round may be disturbed")
    parser.add_argument("--gpu-layers", default="auto")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--contestant", choices=sorted(CONTESTANTS), help=argparse.SUPPRESS)
    return parser.parse_args()


def one_round(arguments: argparse.Namespace, *, backwards: bool) -> Sample:
    """Let every contestant run once; return seconds and tokens per second by name."""
    found: Sample = {"disturbed": 0.0}
    for measure in reversed(contestants(arguments)) if backwards else contestants(arguments):
        made, disturbed = watched(measure)
        found.update(made, disturbed=max(found["disturbed"], disturbed))
    return found


def contestants(arguments: argparse.Namespace) -> list[Callable[[], Sample]]:
    """Return what a round measures, in order."""
    model, threads = str(arguments.model), str(arguments.threads)
    measures: list[Callable[[], Sample]] = [lambda: named("own", run_contestant("own", arguments))]
    if arguments.bench:
        measures.append(lambda: run_bench(arguments))
    measures.append(lambda: named("binding", run_contestant("binding", arguments)))
    measures.append(lambda: named("binding alone", run_contestant("binding-alone", arguments)))
    ours = [sys.executable, "-m", "localllm", "chat", model, _START_PROMPT, "--max-tokens", "1"]
    ours += ["--threads", threads, "--logit-bias", f"{arguments.word}=100"]
    measures.append(lambda: {"own start": first_byte_seconds(ours)})
    if arguments.completion:
        theirs = [str(arguments.completion), "-m", model, "-p", _START_PROMPT, "-n", "1", "-no-cnv"]
        theirs += ["-t", threads, "--no-display-prompt", "-l", f"{arguments.word}+100"]
        measures.append(lambda: {"llama start": first_byte_seconds(theirs)})
    if arguments.conversation:
        measures.append(lambda: run_contestant("resume", arguments))
    return measures


def named(name: str, sample: Sample) -> Sample:
    """Return a sample with a name in front of what was measured."""
    return {f"{name} {what}": value for what, value in sample.items()}


def watched(measure: Callable[[], Sample]) -> tuple[Sample, float]:
    """Return what was measured, and how many processors other programs kept busy meanwhile."""
    all_before, own_before, started = busy_seconds(), own_seconds(), time.perf_counter()
    sample = measure()
    others = (busy_seconds() - all_before) - (own_seconds() - own_before)
    return sample, max(0.0, others / (time.perf_counter() - started))


def busy_seconds() -> float:
    """Return the processor time of everything since the start of the machine, 0 where it is not known."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft = map(int, fields)
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the processor time of this process and of those it waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def run_contestant(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one of CONTESTANTS in a process of its own."""
    command = [sys.executable, __file__, str(arguments.model), "--contestant", name]
    command += ["--threads", str(arguments.threads), "--conversation", str(arguments.conversation)]
    command += ["--gpu-layers", arguments.gpu_layers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_bench(arguments: argparse.Namespace) -> Sample:
    """Run llama-bench once and return its two speeds."""
    command = [str(arguments.bench), "-m", str(arguments.model), "-t", str(arguments.threads), "-r", "1"]
    command += ["-p", str(PROMPT_TOKENS), "-n", str(ANSWER_TOKENS), "-b", "512", "-ub", "512", "-o", "json"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for test in json.loads(output[output.index("[") :]):
        found["bench prompt" if test["n_prompt"] else "bench generation"] = float(test["avg_ts"])
    return found


def first_byte_seconds(command: list[str]) -> float:
    """Return the seconds from starting a program to the first byte of its output."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    if not first or process.returncode:
        sys.exit(f"{command[0]} printed nothing or failed ({process.returncode})")
    return seconds


def report(rounds: list[Sample], quiet: float) -> dict[str, Any]:
    """Print the ratios that the goals speak of; return them."""
    undisturbed = [sample for sample in rounds if sample["disturbed"] <= quiet]
    print(f"{len(undisturbed)} of {len(rounds)} rounds were quiet")
    rounds = undisturbed or rounds
    wanted = {
        "generation / llama-bench tg128": ("own generation", "bench generation", 0.97),
        "generation / binding streaming": ("own generation", "binding generation", 1.1),
        "generation / binding by default": ("own generation", "binding alone generation", None),
        "prompt / llama-bench pp512": ("own prompt", "bench prompt", 0.97),
        "prompt / binding": ("own prompt", "binding prompt", None),
        "resume / reading anew": ("resumed first token", "reread first token", 0.02),
    }
    found: dict[str, Any] = {}
    for label, (above, below, goal) in wanted.items():
        values = [sample[above] / sample[below] for sample in rounds if {above, below} <= set(sample)]
        if values:
            found[label] = show(label, values, goal)
    values = [sample["own start"] - sample["llama start"] for sample in rounds if "llama start" in sample]
    if values:
        found["start minus llama-completion, seconds"] = show("start - llama-completion (s)", values, 0.3)
    return found


def show(label: str, values: list[float], goal: float | None) -> dict[str, Any]:
    """Print and return the median and the range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"{label:36} {middle:8.4f}   ({low:.4f} to {high:.4f})" + (f"   goal {goal}" if goal else ""))
    return {"median": middle, "low": low, "high": high, "goal": goal}


# the contestants ------------------------------------------------------------------------------


def own(arguments: argparse.Namespace) -> Sample:
    """Measure localllm's engine."""
    from localllm.engine import SamplingOptions

    with engine(arguments, context=1024) as ours:
        ours.answer(message("warm up"), SamplingOptions(max_tokens=4, seed=_SEED))
        read = ours.answer(
            message(text_of(PROMPT_TOKENS, lambda text: ours.count_tokens(message(text)))),
            SamplingOptions(max_tokens=1, seed=_SEED),
        ).statistics
        for attempt in range(20):  # random weights may end an answer at once
            said = ours.answer(
                message("tell"), SamplingOptions(max_tokens=ANSWER_TOKENS + 1, seed=_SEED + attempt)
            ).statistics
            if said.completion_tokens == ANSWER_TOKENS + 1:
                break
    return {
        "prompt": (read.prompt_tokens - read.cached_tokens) / read.time_to_first_token_seconds,
        "generation": said.generation_tokens_per_second,
    }


def binding(arguments: argparse.Namespace, **threads: int) -> Sample:
    """Measure the stock binding's streaming."""
    import llama_cpp

    llama = llama_cpp.Llama(
        str(arguments.model),
        n_ctx=1024,
        **threads,
        n_gpu_layers=-1 if arguments.gpu_layers != "0" else 0,
        verbose=False,
    )

    def stream(prompt: str, tokens: int, seed: int) -> list[float]:
        times = [time.perf_counter()]
        for _ in llama.create_completion(
            prompt, max_tokens=tokens, stream=True, seed=seed, temperature=0.7, repeat_penalty=1.0
        ):
            times.append(time.perf_counter())
        return times

    stream("warm up", 4, _SEED)
    prompt = text_of(PROMPT_TOKENS, lambda text: len(llama.tokenize(text.encode())))
    read = stream(prompt, 1, _SEED)
    for attempt in range(20):
        said = stream("tell", ANSWER_TOKENS + 1, _SEED + attempt)
        counted = llama.n_tokens - len(llama.tokenize(b"tell"))  # tokens, of which several make one text
        if counted >= ANSWER_TOKENS // 2:
            break
    return {"prompt": PROMPT_TOKENS / (read[1] - read[0]), "generation": counted / (said[-1] - said[1])}


def resume(arguments: argparse.Namespace) -> Sample:
    """Measure how soon a saved conversation goes on, and how soon one that is read again does."""
    from localllm.engine import SamplingOptions

    options = SamplingOptions(max_tokens=1, seed=_SEED)
    with (
        engine(arguments, context=arguments.conversation + 256) as ours,
        tempfile.TemporaryDirectory() as folder,
    ):
        conversation = message(text_of(arguments.conversation, lambda text: ours.count_tokens(message(text))))
        reread = ours.answer(conversation, options).statistics.time_to_first_token_seconds
        state = Path(folder) / "state"
        size = ours.save_state(state).size_bytes
        ours.answer(message("something else entirely"), options)
        started = time.perf_counter()
        ours.load_state(state)
        next(iter(ours.stream(conversation, options)))
        resumed = time.perf_counter() - started
    return {"reread first token": reread, "resumed first token": resumed, "state MiB": size / 2**20}


def word(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find a token that is a word: the first one of the answers, which random weights may leave empty."""
    from localllm.native.model import Model

    with Model(arguments.model, vocabulary_only=True) as model:
        return {"word": model.tokenize("Hello", add_special=False, parse_special=False)[0]}


def engine(arguments: argparse.Namespace, *, context: int) -> Any:
    """Return our engine, loaded."""
    from localllm.engine import EngineOptions, LlamaEngine

    layers = arguments.gpu_layers if arguments.gpu_layers in ("auto", "all") else int(arguments.gpu_layers)
    options = EngineOptions(context=context, threads=arguments.threads, gpu_layers=layers)
    return LlamaEngine(arguments.model, options)


def message(text: str) -> list[dict[str, str]]:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


def text_of(tokens: int, count: Callable[[str], int]) -> str:
    """Return a text of so many tokens, as near as words allow from below."""
    words: list[str] = []
    while True:
        more = [
            *words,
            *(
                _WORDS[(len(words) + index) % len(_WORDS)]
                for index in range(max(1, (tokens - len(words)) // 8))
            ),
        ]
        if count(" ".join(more)) > tokens:
            break
        words = more
    while count(" ".join([*words, "a"])) <= tokens:
        words.append("a")
    return " ".join(words)


def binding_with_threads(arguments: argparse.Namespace) -> Sample:
    """Measure it with the threads that all others have."""
    return binding(arguments, n_threads=arguments.threads, n_threads_batch=arguments.threads)


CONTESTANTS = {
    "own": own,
    "binding": binding_with_threads,
    "binding-alone": binding,
    "resume": resume,
    "word": word,
}

if __name__ == "__main__":
    main()
