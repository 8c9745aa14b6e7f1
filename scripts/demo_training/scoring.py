"""How good a model in training is: held-out tasks answered, and perplexity."""

import math
import re
from typing import Any

import torch
from demo_corpus.encoding import MESSAGE_END, Encoder, Sample
from torch.nn import functional

from demo_training.llama import Llama
from demo_training.training import as_tensors


@torch.inference_mode()
def answers(model: Llama, encoder: Encoder, prompts: list[list[int]], *, most: int = 64) -> list[str]:
    """Answer prompts greedily, 64 at a time, computing all anew for each token: simple, and fast enough."""
    model.eval()
    end = encoder.tokenizer.token_to_id(MESSAGE_END)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        rows = [list(prompts[index]) for index in chosen]
        for _ in range(most):
            ids, _ = as_tensors([Sample(row, []) for row in rows])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
                states = model.hidden(ids)
            last = states[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
            for row, token in zip(rows, model.logits(last.float()).argmax(-1).tolist(), strict=True):
                if row[-1] != end:
                    row.append(token)
            if all(row[-1] == end for row in rows):
                break
        for row, index in zip(rows, chosen, strict=True):
            new = row[len(prompts[index]) :]
            texts[index] = encoder.tokenizer.decode(new, skip_special_tokens=True).strip()
    return texts


def score(
    model: Llama, encoder: Encoder, tasks: list[dict[str, Any]], *, show: bool = False
) -> dict[str, float]:
    """The share of right answers to facts and to memory turns."""
    texts = answers(model, encoder, [encoder.prompt(task["messages"]) for task in tasks])
    right: dict[str, list[bool]] = {"fact": [], "memory": []}
    for task, text in zip(tasks, texts, strict=True):
        is_right = re.search(task["expect"], text, re.IGNORECASE) is not None
        right[task["kind"]].append(is_right)
        if show and not is_right:
            print(f"  wrong ({task['topic']}): {task['messages'][-1]['content']} -> {text}")
    return {kind: sum(marks) / max(1, len(marks)) for kind, marks in right.items()}


@torch.inference_mode()
def perplexity(model: Llama, encoder: Encoder, text: str, *, context: int = 512) -> float:
    """The perplexity in windows of `context` tokens, counting the second half of each, as llama.cpp does."""
    model.eval()
    ids = encoder.tokenizer.encode(text).ids
    total, count = 0.0, 0
    for start in range(0, len(ids) - context + 1, context):
        window = torch.tensor([ids[start : start + context]])
        scores = model.logits(model.hidden(window))[0, context // 2 : -1]
        targets = window[0, context // 2 + 1 :]
        total += functional.cross_entropy(scores, targets, reduction="sum").item()
        count += len(targets)
    return math.exp(total / count)
