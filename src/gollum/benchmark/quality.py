"""How well a fitted surrogate predicts the candidates that were not measured."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gollum.analysis.metrics import msll, nlpd, quantile_coverage_error, r2
from gollum.surrogates.base import Fitted


def quality(
    fitted: Fitted, rows: NDArray[np.int64], utility: NDArray[np.float64]
) -> dict[str, float | None]:
    """Figures of one fit on candidates that it has not seen.

    All are of the objective standardised as for the fit (by mean and unbiased standard deviation
    of the n training values), so that tasks with different units can be averaged; R², MSLL and
    calibration error don't depend on that.

    Args:
        fitted: surrogate given all measurements.
        rows: positions of m candidates.
        utility: their m values.

    Returns:
        A number for each of `QUALITY`, or None where it is not defined: R² of a constant
        objective, the ratio where all features are equal.
    """
    location, scale = fitted.location.item(), fitted.scale.item()
    y = (utility - location) / scale
    mean, variance = (v.cpu().numpy() for v in fitted.standardised(rows))
    noisy = variance + fitted.noise  # of a measurement
    figures = {
        "r2": r2(y, mean) if np.ptp(y) > 0 else math.nan,
        "nlpd": nlpd(y, mean, noisy),
        "msll": msll(y, mean, noisy, 0.0, 1.0),
        "calibration_error": quantile_coverage_error(y, mean, noisy),
        "latent_distance_ratio": fitted.latent_distance_ratio(),
    }
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
