"""Source tasks: results of earlier campaigns or other tables that a model may learn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.errors import DataError


@dataclass(frozen=True, eq=False)
class SourceTask:
    """What was measured in another task, in the terms of the one that learns from it.

    Attributes:
        name: what reports call it.
        table: n x k inputs; columns that both tasks have are called as in the target's pool, and
            columns of its own may stand beside them.
        utility: n measured values, larger is better.
        comparable: whether the values are those of the target's objective, in its unit; of others
            only the order and relative distances count.
    """

    name: str
    table: pd.DataFrame
    utility: NDArray[np.float64]
    comparable: bool = True

    def __post_init__(self) -> None:
        if len(self.table) == 0:
            raise DataError(f"{self.name}: there is no result to learn from.")
        if self.utility.shape != (len(self.table),):
            raise DataError(
                f"{self.name}: expected {len(self.table)} values, got shape {self.utility.shape}."
            )
        if not np.isfinite(self.utility).all():
            raise DataError(f"{self.name}: results to learn from must be finite numbers.")

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over name, inputs and values."""
        digest = hashlib.sha256(f"{self.name}\n{self.comparable}\n".encode())
        digest.update(self.table.to_csv(lineterminator="\n", index=False).encode())
        digest.update(np.ascontiguousarray(self.utility).tobytes())
        return digest.hexdigest()

    @property
    def standardised(self) -> NDArray[np.float64]:
        """(utility − mean) / standard deviation; n."""
        found: NDArray[np.float64] = (self.utility - self.utility.mean()) / self.scale
        return found

    @property
    def scale(self) -> float:
        """Unbiased standard deviation of the values; 1 where they do not differ."""
        deviation = float(self.utility.std(ddof=1)) if len(self) > 1 else 0.0
        return deviation if deviation > 1e-10 * float(np.abs(self.utility).max()) else 1.0
