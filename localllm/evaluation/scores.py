"""What evaluating a model on a text gives for each scored position."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localllm.errors import ReferenceStoreError
from localllm.publication import publishing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """Per position: `nll`, -log of the probability of the text's token, and how it differs from a reference.

    `reference_nll` is the reference's, `kl` the divergence from it, `delta_p` how much more probable the
    token is than for the reference, `same_top` whether both hold the same token for the best. These four are
    None where nothing was compared.
    """

    nll: NDArray[np.float64]
    reference_nll: NDArray[np.float64] | None = None
    kl: NDArray[np.float32] | None = None
    delta_p: NDArray[np.float32] | None = None
    same_top: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.nll)

    @property
    def is_compared(self) -> bool:
        return self.kl is not None

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Return the scores in a file. Raise ReferenceStoreError when they cannot be read."""
        import numpy as np

        names = [field.name for field in fields(cls)]
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = {name: file[name] for name in names if name in file}
            scores = cls(**found)
        except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile):
            raise ReferenceStoreError(
                f"the stored scores in {path} cannot be read", hint="they have to be made anew"
            ) from None
        if len({values.shape for values in found.values()}) != 1 or len(found) not in (1, len(names)):
            raise ReferenceStoreError(
                f"the stored scores in {path} are damaged", hint="they have to be made anew"
            )
        return scores

    def save(self, path: Path) -> None:
        """Write the scores to `path`, as numpy's .npz. Raise StorageError when that fails."""
        import numpy as np

        found = {field.name: getattr(self, field.name) for field in fields(self)}
        with publishing(path) as part, part.open("wb") as file:
            np.savez(file, **{name: values for name, values in found.items() if values is not None})

    @classmethod
    def joined(cls, parts: Sequence[Scores]) -> Scores:
        """Return the positions of all parts; compared only when all of them are."""
        import numpy as np

        if not parts:
            return cls(np.empty(0))
        joined: dict[str, Any] = {}
        for field in fields(cls):
            column = [getattr(part, field.name) for part in parts]
            if all(values is not None for values in column):
                joined[field.name] = np.concatenate(column)
        return cls(**joined)
