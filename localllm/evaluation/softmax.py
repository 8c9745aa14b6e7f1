"""What is read off the logits of some positions: the best token, the normalisation, the target's surprise.

Numbers are float32; sums, and what is left once the large numbers cancel, are float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Softmax:
    """Of some rows of logits: the index of the largest, int64, log Σ exp, and `powers`: exp(logit - largest).

    `logits` and `powers` are float32 of shape (rows, vocabulary), `log_sum` float64 of shape (rows,).
    """

    logits: NDArray[np.float32]
    top: NDArray[np.int64]
    log_sum: NDArray[np.float64]
    powers: NDArray[np.float32]

    def surprise(self, targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return -log of the probability each row gives its target, shape (rows,)."""
        import numpy as np

        chosen = np.take_along_axis(self.logits, targets[:, None], axis=1)[:, 0]
        result: NDArray[np.float64] = self.log_sum - chosen.astype(np.float64)
        return result

    def probabilities(self) -> NDArray[np.float32]:
        """Return the softmax itself."""
        import numpy as np

        total = self.powers.sum(axis=1, dtype=np.float64)
        result: NDArray[np.float32] = self.powers * (1 / total)[:, None].astype(np.float32)
        return result


def softmax(logits: NDArray[np.float32]) -> Softmax:
    """Compute the softmax of each row of `logits`, shape (rows, vocabulary)."""
    import numpy as np

    top = logits.argmax(axis=1)
    largest = np.take_along_axis(logits, top[:, None], axis=1)
    powers = logits - largest
    np.exp(powers, out=powers)
    total = powers.sum(axis=1, dtype=np.float64)
    return Softmax(logits, top, largest[:, 0].astype(np.float64) + np.log(total), powers)


def negative_log_likelihood(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -log softmax(logits)[target] of each row; logits (rows, vocabulary), targets (rows,)."""
    return softmax(logits).surprise(targets)
