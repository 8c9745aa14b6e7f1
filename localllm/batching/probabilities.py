"""The probabilities a model gave to the token that was chosen and to the likeliest others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localllm.batching.requests import TokenChoice
from localllm.native.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def choice_of(token: int, logits: NDArray[np.float32], alternatives: int, model: Model) -> TokenChoice:
    """Return the choice of `token`, with the log-softmax of the raw `logits` of all tokens."""
    import numpy as np

    largest = logits.max()
    total = float(largest) + float(np.log(np.exp(logits - largest).sum(dtype=np.float64)))
    count = min(alternatives, logits.size)
    found: list[int] = []
    if count:
        likeliest = np.argpartition(logits, -count)[-count:]
        found = [int(each) for each in likeliest[np.argsort(-logits[likeliest], kind="stable")]]
    return TokenChoice(
        token=token,
        data=_bytes_of(token, model),
        logprob=float(logits[token]) - total,
        alternatives=tuple((each, _bytes_of(each, model), float(logits[each]) - total) for each in found),
    )


def _bytes_of(token: int, model: Model) -> bytes:
    """Return the bytes of a token; those of a control token are its name."""
    return model.piece(token) or model.piece(token, special=True)
