"""Which of some texts a model holds for the most probable answer, by the log-likelihood of their tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from localllm.chat_template.of_model import template_of
from localllm.engine.prompts import Prompts
from localllm.errors import GenerationError
from localllm.evaluation.softmax import negative_log_likelihood
from localllm.events import ignore
from localllm.gguf_file.format import Key
from localllm.gguf_file.preflight import read_loadable
from localllm.native.context import Context
from localllm.native.model import Model

_FEWEST_TOKENS = 64
Messages = Sequence[Mapping[str, str]]


def choose(path: Path, questions: Sequence[tuple[Messages, Sequence[str]]], threads: int) -> Iterator[int]:
    """Yield for each question the index of the choice with the highest sum of log-likelihoods.

    Without a chat template a choice is put behind the prompt with a space. Raise GenerationError for a
    question that has no room in what the model was trained for.
    """
    header = read_loadable(path)
    with Model(path) as model:
        template = template_of(model, header.text(Key.CHAT_TEMPLATE))
        prompts = Prompts(model, header, template, ignore)
        tokenized = []
        for messages, choices in questions:
            prompt = prompts.tokens(messages)
            space = "" if template or messages[-1]["content"].endswith((" ", "\n")) else " "
            tokenized.append((prompt, [prompts.text_tokens(space + choice) for choice in choices]))
        longest = max(len(prompt) + max(map(len, choices)) for prompt, choices in tokenized)
        if longest > model.training_context:
            raise GenerationError(
                f"a question takes {longest} tokens, but the model was trained for {model.training_context}",
                hint="shorten it",
            )
        size = max(longest, _FEWEST_TOKENS)
        with Context(model, context_size=size, threads=threads, batch_size=size) as context:
            for prompt, answers in tokenized:
                likelihoods = [_log_likelihood(context, prompt, answer) for answer in answers]
                yield max(range(len(answers)), key=likelihoods.__getitem__)


def _log_likelihood(context: Context, prompt: Sequence[int], choice: Sequence[int]) -> float:
    """Return the logarithm of how probable `choice` is behind `prompt`; -infinity without a token."""
    import numpy as np

    if not choice:
        return -math.inf
    context.clear()
    tokens = [*prompt, *choice[:-1]]
    context.decode(tokens, start=0, logits_from=len(prompt) - 1)
    logits = context.kept_logits(len(choice))
    return -float(negative_log_likelihood(logits, np.asarray(choice, np.int64)).sum())
