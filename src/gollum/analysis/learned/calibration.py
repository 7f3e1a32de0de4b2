"""Whether predictions know how uncertain they are: one row of figures, and reliability curves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.cross_validation import shares_inside
from gollum.analysis.metrics import msll, nlpd, quantile_coverage_error, r2

Vector = NDArray[np.float64]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class Calibration(NamedTuple):
    """Figures of n predictions of standardised outcomes.

    Attributes:
        points: n.
        r2: 1 − Σ(y−μ)² / Σ(y−ȳ)².
        rmse: root mean squared error, in standard deviations of what the model was fitted to.
        nlpd: mean negative log predictive density.
        msll: the same less that of the training outcomes' mean and variance; below 0 is better
            than ignoring the inputs.
        quantile_error: mean over `LEVELS` of |share inside the central interval − level|.
        inside_95: share inside the 95 % interval; 0.95 is honest.
        sharpness: mean predictive standard deviation over that of the outcomes; smaller says more.
    """

    points: int
    r2: float
    rmse: float
    nlpd: float
    msll: float
    quantile_error: float
    inside_95: float
    sharpness: float


def calibration(y: Vector, mean: Vector, variance: Vector) -> Calibration:
    """Judge n predictions.

    Args:
        y: outcomes, standardised as for the fit (training mean 0, deviation 1).
        mean: predictive means.
        variance: predictive variances > 0 of a measurement, noise included.
    """
    spread = float(y.std())
    return Calibration(
        points=len(y),
        r2=r2(y, mean) if spread > 0 else float("nan"),
        rmse=float(np.sqrt(np.mean((y - mean) ** 2))),
        nlpd=nlpd(y, mean, variance),
        msll=msll(y, mean, variance, 0.0, 1.0),
        quantile_error=quantile_coverage_error(y, mean, variance, LEVELS),
        inside_95=float(shares_inside(y, mean, variance, (0.95,))[0]),
        sharpness=float(np.sqrt(variance).mean()) / spread if spread > 0 else float("nan"),
    )


def reliability(y: Vector, mean: Vector, variance: Vector) -> pd.DataFrame:
    """Share of n outcomes inside the central interval of each level; arguments as above.

    Returns:
        Columns level and inside, a row for each of `LEVELS`; on the diagonal is honest, below it
        too sure.
    """
    inside = shares_inside(y, mean, variance, LEVELS)
    return pd.DataFrame({"level": LEVELS, "inside": inside})
