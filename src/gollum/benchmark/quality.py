"""How well a fitted surrogate predicts the candidates that were not measured."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from gollum.analysis.metrics import msll, nlpd, quantile_coverage_error, r2
from gollum.surrogates.base import Fitted

SAMPLE = 2000  # candidates whose pairwise distances are averaged


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
    mean, variance = (v.cpu().numpy() for v in fitted.standardised_marginals(rows))
    noisy = variance + fitted.process.gp.noise.item()  # of a measurement
    figures = {
        "r2": r2(y, mean) if np.ptp(y) > 0 else math.nan,
        "nlpd": nlpd(y, mean, noisy),
        "msll": msll(y, mean, noisy, 0.0, 1.0),
        "calibration_error": quantile_coverage_error(y, mean, noisy),
        "latent_distance_ratio": latent_distance_ratio(fitted),
    }
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def latent_distance_ratio(fitted: Fitted) -> float:
    """Lengthscale over mean pairwise distance: ℓ / d̄ of arXiv 2504.06265.

    Distances are those between features of the pool as the kernel sees them, of all candidates or
    of a fixed sample of `SAMPLE`; not-a-number when they are all 0.
    """
    count = len(fitted.pool)
    rows = np.arange(count)
    if count > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(count, SAMPLE, replace=False))
    mean = torch.pdist(fitted.features_at(rows)).mean().item() if count > 1 else 0.0
    return fitted.process.gp.lengthscale.mean().item() / mean if mean > 0 else math.nan
