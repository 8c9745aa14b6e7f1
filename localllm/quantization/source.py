"""What is quantized: the header of an unquantized model, and how to get at its weights in another process.

A GGUF file is one; a checkpoint is another that exists only as the file a conversion would write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.gguf_file import GGUFHeader
from localllm.gguf_file.format import TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from localllm.conversion.workspace import Workspace


@dataclass(frozen=True)
class QuantizationSource:
    """A model to quantize.

    `outlines`: the header of each file it has as GGUF, where the `tokenizer.*` keys may be left out;
    `complete` returns them with these keys, or raises a LocalLLMError. `inputs`: the files it is made of,
    which must not be written to. `weights`: JSON-compatible, what `weights.open_weights` opens in the process
    that quantizes. `prove` raises a LocalLLMError for what only shows beside the header; it is called before
    anything is written.
    """

    label: str
    outlines: tuple[GGUFHeader, ...]
    complete: Callable[[], tuple[GGUFHeader, ...]]
    inputs: tuple[Path, ...]
    weights: dict[str, Any]
    prove: Callable[[], None]

    @cached_property
    def headers(self) -> tuple[GGUFHeader, ...]:
        """Return the whole headers, completed on first use."""
        return self.complete()


@dataclass(frozen=True)
class SourcePiece:
    """Whole rows of a tensor, flattened to two dimensions: `rows` of them from `first_row` on.

    `read` returns their bytes as the GGUF file holds them, shape (rows, bytes per row); they may lie in the
    workspace it is given. It raises a LocalLLMError for NaN and infinity.
    """

    tensor: str
    type: TensorType
    columns: int
    first_row: int
    rows: int
    read: Callable[[Workspace], NDArray[np.uint8]]


PiecesOf = Callable[[str, int], Iterator[SourcePiece]]
"""Returns the pieces of the tensor of a name, in order, of about so many weights each."""
