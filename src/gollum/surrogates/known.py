"""An outcome that is known of every candidate before anything is measured, such as its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.surrogates.base import (
    SMALLEST_VARIANCE,
    FitReport,
    Fitted,
    Rows,
    standard_deviation,
)


@dataclass(frozen=True, eq=False)
class Known(Fitted):
    """What a model would say that knows everything.

    Attributes:
        every: N standardised utilities.
    """

    every: Tensor

    @classmethod
    def of(cls, pool: Pool, ids: Sequence[str], utility: NDArray[np.float64]) -> Known:
        """From the utilities of all N candidates, and which of them were measured."""
        values = torch.tensor(utility, dtype=torch.float64)
        location, scale = values.mean(), standard_deviation(values)
        rows, every = pool.positions(ids), (values - location) / scale
        report = FitReport("known")
        return cls(pool, rows, values[torch.as_tensor(rows)], location, scale, report, every)

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows | None = None) -> Known:
        """Some of the candidates.

        Raises:
            DataError: there are others, of which nothing is known.
        """
        if len(table):
            raise DataError("An outcome that is known of every candidate is not known of others.")
        return replace(self, every=self.every[torch.as_tensor(rows)], **self._beyond(rows, table))

    @property
    def noise(self) -> float:
        """Next to none."""
        return SMALLEST_VARIANCE

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The values themselves, next to certain; m and m."""
        mean = self.every[torch.as_tensor(rows)]
        return mean, torch.full_like(mean, SMALLEST_VARIANCE)

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """Next to nothing; n x m."""
        same = torch.as_tensor(a).unsqueeze(1) == torch.as_tensor(b)
        return SMALLEST_VARIANCE * same.double()
