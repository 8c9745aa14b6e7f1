"""Several sequences in one batch compute what each computes alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localllm.native.context import Context
from localllm.native.model import Model

SEQUENCES = [[1, 262, 270, 265], [1, 271, 264, 264]]


def test_sequences_do_not_see_each_other(narrow_gguf: Path) -> None:
    with Model(narrow_gguf) as model:
        alone = []
        with Context(model, context_size=32, threads=1, exact=True) as context:
            for tokens in SEQUENCES:
                context.clear()
                context.decode(tokens, start=0, logits_from=0)
                alone.append(np.array(context.kept_logits(4)))
        with Context(model, context_size=64, threads=1, sequences=2, exact=True) as context:
            first, second = np.zeros((2, 4, model.vocabulary_size), np.float32)
            for start in (0, 2):
                context.decode_together([tokens[start : start + 2] for tokens in SEQUENCES], start=start)
                first[start : start + 2], second[start : start + 2] = np.split(context.kept_logits(4), 2)
    np.testing.assert_allclose(first, alone[0], atol=1e-4)
    np.testing.assert_allclose(second, alone[1], atol=1e-4)


def test_they_must_fit_into_a_batch(narrow_gguf: Path) -> None:
    with (
        Model(narrow_gguf) as model,
        Context(model, context_size=32, threads=1, batch_size=7) as context,
        pytest.raises(ValueError, match="one batch"),
    ):
        context.decode_together(SEQUENCES, start=0)
