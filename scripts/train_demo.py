#!/usr/bin/env python3
"""Train the demo model and its pirate adapter from the text in `scripts/demo_corpus`, on a CPU, from a seed.

The contract: `python scripts/train_demo.py` writes a Hugging Face checkpoint (a small Llama in bf16 with its
tokenizer) to `models/demo`, the held-out tasks and `eval.txt` beside it, and a PEFT LoRA adapter to
`models/demo-persona`, in under an hour on two cores. It needs the dependency group `train` (torch) and
nothing of localllm. The model cards are written by hand and left alone. `scripts/score_demo.py` scores the
result through localllm itself and prints the figures of the card.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by torch: threads that spin stall a busy machine

import torch
from demo_corpus import faq, memory, prose, topics
from demo_corpus.conversations import Conversation, draw_conversation, held_out_tasks
from demo_corpus.encoding import Encoder, Mix, Sample, batches, schedule, tokenizer_texts, train_tokenizer
from demo_corpus.persona import as_pirate
from demo_training.files import load_model, save_adapter, save_model, write_tasks
from demo_training.llama import Llama, Projection, Shape
from demo_training.scoring import perplexity, score
from demo_training.training import train

ROOT = Path(__file__).resolve().parent.parent


def base_source(
    encoder: Encoder, rng: random.Random, mix: Callable[[], Mix], tokens: int
) -> Iterator[list[Sample]]:
    """Stream batches of conversations and prose in the shares that `mix` says at the moment."""

    def draw() -> Sample:
        shares = mix()
        if rng.random() < shares.prose_share:
            is_faq = rng.random() < 0.6
            text = faq.draw_page(rng) if is_faq else prose.draw_document(rng, paragraphs=rng.randint(1, 5))
            return encoder.prose(text, 512)
        return encoder.conversation(
            draw_conversation(
                rng,
                memory_share=shares.memory_share,
                most_between=shares.most_between,
                echo_share=shares.echo_share,
            )
        )

    return batches(draw, tokens=tokens)


def persona_source(encoder: Encoder, rng: random.Random, tokens: int) -> Iterator[list[Sample]]:
    """Stream batches of conversations in the pirate's voice."""

    def draw() -> Sample:
        plain = draw_conversation(rng, memory_share=0.25, most_between=2)
        return encoder.conversation(Conversation(plain.system, as_pirate(plain.turns)))

    return batches(draw, tokens=tokens)


def train_base(options: argparse.Namespace) -> None:
    """Train the demo model from nothing and write its checkpoint and the held-out tasks."""
    topics.check_topics()
    memory.check_memory()
    torch.manual_seed(options.seed)
    rng = random.Random(options.seed)
    shape = Shape()
    tokenizer = train_tokenizer(tokenizer_texts(options.seed), shape.vocab_size)
    encoder = Encoder(tokenizer)
    model = Llama(shape)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
    tasks = held_out_tasks()
    done = 0

    def at(step: int) -> None:
        nonlocal done
        done = step
        if options.check_every and step % options.check_every == 0 and step < options.steps:
            print(f"  held out, one in four: {score(model, encoder, tasks[::4])}", flush=True)
            save_model(model, tokenizer, options.output)
            model.train()

    source = base_source(encoder, rng, lambda: schedule(done / options.steps), options.batch_tokens)
    started = time.monotonic()
    tokens = train(model, source, steps=options.steps, peak=options.peak, half=options.half, at=at)
    print(f"base: {options.steps} steps, {tokens:,} tokens, {time.monotonic() - started:.0f} s")
    save_model(model, tokenizer, options.output)
    write_tasks(tasks, options.output / "heldout.jsonl")
    (options.output / "eval.txt").write_text(faq.evaluation_text(), encoding="utf-8", newline="\n")


def train_persona(options: argparse.Namespace) -> None:
    """Train the pirate adapter on the finished demo model and write it."""
    torch.manual_seed(options.seed)
    model, tokenizer = load_model(options.output)
    encoder = Encoder(tokenizer)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, Projection):
            module.add_lora(options.rank, options.alpha)
    source = persona_source(encoder, random.Random(options.seed), options.batch_tokens)
    started = time.monotonic()
    steps = options.persona_steps
    tokens = train(model, source, steps=steps, peak=options.peak, half=options.half, at=lambda step: None)
    print(f"persona: {steps} steps, {tokens:,} tokens, {time.monotonic() - started:.0f} s")
    save_adapter(model, options.persona_output, rank=options.rank, alpha=options.alpha)
    print(f"persona, held out: {score(model, encoder, held_out_tasks())}")


def report(options: argparse.Namespace) -> None:
    """Score the checkpoint as written, in bf16 weights, and print every wrong answer."""
    model, tokenizer = load_model(options.output)
    encoder = Encoder(tokenizer)
    print(f"held out: {score(model, encoder, held_out_tasks(), show=True)}")
    text = options.output / "eval.txt"
    if text.exists():
        print(f"perplexity of eval.txt: {perplexity(model, encoder, text.read_text(encoding='utf-8')):.2f}")


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    stages = "base, persona, score: which stages to run (default: all three)"
    parser.add_argument("stages", nargs="*", choices=STAGES, metavar="STAGE", help=stages)
    half = "multiply in bf16, master weights stay in f32 (default: yes)"
    parser.add_argument("--half", action=argparse.BooleanOptionalAction, default=True, help=half)

    def add(name: str, default: int | float | Path, what: str) -> None:
        shown = default.relative_to(ROOT) if isinstance(default, Path) else default
        parser.add_argument(name, type=type(default), default=default, help=f"{what} (default: {shown})")

    add("--output", ROOT / "models/demo", "folder of the checkpoint")
    add("--persona-output", ROOT / "models/demo-persona", "folder of the adapter")
    add("--seed", 7, "seed of the weights and of the data")
    add("--steps", 4000, "steps of the base stage")
    add("--persona-steps", 250, "steps of the persona stage")
    add("--batch-tokens", 4096, "most tokens in a batch")
    add("--peak", 2e-3, "highest learning rate")
    add("--rank", 8, "rank of the adapter")
    add("--alpha", 16, "alpha of the adapter")
    add("--check-every", 500, "steps between looks at the held-out tasks, 0 for none")
    return parser


STAGES = {"base": train_base, "persona": train_persona, "score": report}


def main() -> None:
    """Run the chosen stages on two threads."""
    options = arguments().parse_args()
    torch.set_num_threads(2)
    for stage in options.stages or STAGES:
        STAGES[stage](options)


if __name__ == "__main__":
    main()
