"""AdamW over batches of samples, with a warm-up and a cosine."""

import math
import time
from collections.abc import Callable, Iterator

import torch
from demo_corpus.encoding import Sample, padded_length
from torch import Tensor, nn
from torch.nn import functional

from demo_training.llama import Llama


def as_tensors(batch: list[Sample]) -> tuple[Tensor, Tensor]:
    """Pad a batch on the right: ids and weights, both (batch, length)."""
    length = padded_length(max(len(sample.ids) for sample in batch))
    ids = torch.tensor([sample.ids + [0] * (length - len(sample.ids)) for sample in batch])
    weights = torch.tensor([sample.weights + [0.0] * (length - len(sample.weights)) for sample in batch])
    return ids, weights


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Warm up for 100 steps, then fall along a cosine to a fiftieth."""
    if step < 100:
        return peak * (step + 1) / 100
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def loss_of(model: Llama, batch: list[Sample], *, half: bool) -> Tensor:
    """The weighted cross-entropy of the tokens that count."""
    ids, weights = as_tensors(batch)
    targets, weights = ids.roll(-1, dims=1), weights.roll(-1, dims=1)
    weights[:, -1] = 0.0
    counted = weights.flatten().argsort(descending=True, stable=True)
    counted = counted[: padded_length(int((weights > 0).sum()))]  # a few of weight zero keep the shapes few
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        scores = model.logits(model.hidden(ids).flatten(0, 1)[counted])
    losses = functional.cross_entropy(scores.float(), targets.flatten()[counted], reduction="none")
    weights = weights.flatten()[counted]
    return (losses * weights).sum() / weights.sum()


def train(
    model: Llama,
    source: Iterator[list[Sample]],
    *,
    steps: int,
    peak: float,
    half: bool,
    at: Callable[[int], None],
) -> int:
    """Run AdamW over the parameters that ask for gradients; call `at` after each step; return the tokens."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if parameter.dim() == 2]
    rest = [parameter for parameter in parameters if parameter.dim() != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), fused=True)
    started, tokens, running = time.monotonic(), 0, 0.0
    model.train()
    for step in range(steps):
        batch = next(source)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        loss = loss_of(model, batch, half=half)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokens += sum(len(sample.ids) for sample in batch)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - started
            speed = f"{tokens / seconds:.0f} tokens/s  {seconds:.0f} s"
            print(f"step {step + 1}/{steps}  loss {running:.3f}  {speed}", flush=True)
        at(step + 1)
    return tokens
