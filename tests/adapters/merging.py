"""Compares our merge of a tiny adapter with samples of what PEFT computed."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localllm.adapters import merged, open_adapter
from localllm.checkpoint import open_checkpoint
from localllm.checkpoint.numbers import as_float32
from tests.adapters.tiny_adapters import ADAPTERS, write_tiny_adapter
from tests.conversion.logits import relative_difference, runtime_logits

GOLDEN = Path(__file__).parent / "golden"
_POSITIONS = slice(1, None, 5)
_SAMPLES = 64

Arrays = dict[str, NDArray[np.float32]]


def sample(arrays: Arrays) -> Arrays:
    """Keep the logits of every fifth position and a few weights of each tensor."""
    kept = {name: _some(name, values) for name, values in arrays.items() if name != "logits"}
    return {"logits": arrays["logits"][_POSITIONS], **kept}


def differences(name: str, folder: Path) -> tuple[float, float]:
    """Return the largest difference from PEFT's logits and from its merged weights, both relative."""
    base = ADAPTERS[name].write_base(folder / "base")
    adapter = write_tiny_adapter(folder / "adapter", ADAPTERS[name], name)
    with np.load(GOLDEN / f"{name}.npz") as stored:
        expected = dict(stored)
    logits = runtime_logits(base, adapters=(adapter,))[_POSITIONS]
    ours = merged(open_checkpoint(base), open_adapter(adapter)).tensors
    worst = max(
        float(np.abs(_some(tensor, _values(ours[tensor])) - weights).max() / np.abs(weights).max())
        for tensor, weights in expected.items()
        if tensor in ours
    )
    return relative_difference(logits, expected["logits"]), worst


def _values(tensor: object) -> NDArray[np.float32]:
    return as_float32(tensor.read_array(), tensor.dtype)  # type: ignore[attr-defined]


def _some(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values at seeded places of a tensor."""
    places = np.random.PCG64(zlib.crc32(name.encode())).random_raw(_SAMPLES) % np.uint64(values.size)
    return values.reshape(-1)[places.astype(np.int64)]
