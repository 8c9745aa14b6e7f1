"""What flows into a model's weight matrices while it runs: sums of squares of every input column.

ggml's scheduler calls back for each node of the graph. For a product with weights the numbers it was given
are squared and added up, column by column; where experts are chosen, for each expert alone. The callback
is a module global (it outlives every call) and never raises: what goes wrong is kept and raised by
`ActivationSums.check`. The rules which products count are llama-imatrix's (tools/imatrix/imatrix.cpp).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localllm.errors import ImportanceMatrixError
from localllm.native.tensor import F32, I32, Operations, Tensor, operations, read_numbers, weight_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_ROWS = 16  # smaller products are left out, as in llama-imatrix
_OUTPUT = "output.weight"


@dataclass
class InputSums:
    """What went into one weight tensor.

    `sums` are the squares of each column added up, float64 of shape (matrices, columns); `counts` the rows
    that were added, int64 of shape (matrices,) where experts are chosen, else of shape (1,).
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def is_partial(self) -> bool:
        """Tell whether some experts were never chosen."""
        return bool((self.counts == 0).any())


class ActivationSums:
    """The sums of all weights seen so far, by name; `with_output` takes the output matrix in, too."""

    def __init__(self, *, with_output: bool = False) -> None:
        self.inputs: dict[str, InputSums] = {}
        self._with_output = with_output
        self._operations: Operations = operations()
        self._failure: Exception | None = None

    def check(self) -> None:
        """Raise what went wrong since the sums were begun; ImportanceMatrixError for infinite numbers."""
        if self._failure is not None:
            raise self._failure

    def observe(self, address: int, *, ask: bool) -> bool:
        """Look at the node at `address`: tell whether its inputs are wanted or, later, add them up.

        Never raises; returning False ends the computation.
        """
        if self._failure is not None:
            return False
        try:
            node = Tensor.from_address(address)
            if ask:
                return self._wants(node)
            self._add(node)
        except Exception as error:  # nothing may be raised through C
            self._failure = error
        return True

    def _wants(self, node: Tensor) -> bool:
        if node.op == self._operations.mul_mat_id:
            return True
        if node.op != self._operations.mul_mat:
            return False
        inputs = Tensor.from_address(node.src[1])
        if inputs.type != F32 or inputs.ne[1] < FEWEST_ROWS:
            return False
        name = weight_name(Tensor.from_address(node.src[0]))
        return name.startswith("blk.") or (self._with_output and name == _OUTPUT)

    def _add(self, node: Tensor) -> None:
        weights, inputs = (Tensor.from_address(node.src[index]) for index in (0, 1))
        name, matrices = weight_name(weights), (weights.ne[3], weights.ne[2])
        if inputs.type != F32:
            return
        numbers = read_numbers(node.src[1], inputs)
        if node.op == self._operations.mul_mat:
            self.add_dense(name, numbers, matrices)
            return
        ids = Tensor.from_address(node.src[2])
        if ids.type != I32 or inputs.ne[3] != 1:
            raise ImportanceMatrixError(f"the experts of `{name}` are chosen in an unknown way")
        self.add_routed(name, numbers[0], read_numbers(node.src[2], ids)[0, 0], matrices[1])

    def add_dense(self, name: str, inputs: NDArray[np.float32], matrices: tuple[int, int]) -> None:
        """Add `inputs`, shape (n3, n2, rows, columns), of a grid of `matrices`, mostly (1, 1).

        Matrix (i, j) multiplies the inputs whose first two indices, modulo the grid, are i and j.
        """
        import numpy as np

        outer, inner, rows, columns = inputs.shape
        squares = np.einsum("abij,abij->abj", inputs, inputs)
        grid = squares.reshape(outer // matrices[0], matrices[0], inner // matrices[1], matrices[1], columns)
        added = grid.sum(axis=(0, 2), dtype=np.float64).reshape(-1, columns)
        entry = self._entry(name, added.shape, 1)
        if len(entry.counts) > 1 and (entry.counts == entry.counts[0]).all():
            entry.counts = entry.counts[:1].copy()
        entry.sums += added
        entry.counts += outer * inner * rows // len(added)
        _require_finite(name, entry.sums)

    def add_routed(
        self, name: str, inputs: NDArray[np.float32], ids: NDArray[np.int32], experts: int
    ) -> None:
        """Add `inputs`, shape (tokens, slots, columns), to the experts `ids`, shape (tokens, used), names.

        The experts of a token have a slot each, or share one.
        """
        import numpy as np

        tokens, slots, columns = inputs.shape
        used = ids.shape[1]
        chosen = ids.reshape(-1)
        if len(ids) != tokens or chosen.min() < 0 or chosen.max() >= experts:
            raise ImportanceMatrixError(f"the experts of `{name}` are chosen in an unknown way")
        entry = self._entry(name, (experts, columns), experts)
        if len(entry.counts) == 1:
            entry.counts = np.repeat(entry.counts, experts)
        order = np.argsort(chosen, kind="stable")
        counts = np.bincount(chosen, minlength=experts)
        ends = np.cumsum(counts)
        for expert in np.flatnonzero(counts):
            token, slot = np.divmod(order[ends[expert] - counts[expert] : ends[expert]], used)
            rows = inputs[token, slot % slots]
            entry.sums[expert] += np.einsum("ij,ij->j", rows, rows)
        entry.counts += counts
        _require_finite(name, entry.sums)

    def _entry(self, name: str, shape: tuple[int, ...], counts: int) -> InputSums:
        import numpy as np

        entry = self.inputs.get(name)
        if entry is None:
            entry = self.inputs[name] = InputSums(np.zeros(shape), np.zeros(counts, np.int64))
        elif entry.sums.shape != shape:
            raise ImportanceMatrixError(f"the inputs of `{name}` change their width")
        return entry


@contextmanager
def collecting(sums: ActivationSums) -> Iterator[None]:
    """Add to `sums` what contexts made with `CALLBACK` compute while the body runs."""
    global _active
    _active = sums
    try:
        yield
    finally:
        _active = None


_active: ActivationSums | None = None


def _on_node(address: int, ask: bool, _user_data: int | None) -> bool:
    """Serve ggml's scheduler: `ask` before a node is computed, then again if that was answered with True."""
    sums = _active
    return sums is not None and bool(sums.observe(address, ask=ask))


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)(_on_node)


def _require_finite(name: str, sums: NDArray[np.float64]) -> None:
    import numpy as np

    if not np.isfinite(sums).all():
        raise ImportanceMatrixError(
            f"what goes into `{name}` is not finite",
            hint="the model is damaged; convert or download it again",
        )
