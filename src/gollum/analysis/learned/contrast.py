"""What the marginal likelihood does to each pair: which it pulls together and which apart.

With Σ = K + σ²I and α = Σ⁻¹(y − m), the gradient of log p(y) with respect to the covariance is
½(ααᵀ − Σ⁻¹) (Rasmussen & Williams 2006, eq. 5.9). A pair stands in K twice, so it has
∂L/∂k_ij = α_i α_j − (Σ⁻¹)_ij: where that is above 0, the likelihood grows as the two become more
alike, so training pulls them together, and pushes them apart where it is below 0. No label says
which pairs belong together; that is the implicit contrastive effect of arXiv 2504.06265.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.learned.geometry import HIGH, LOW, high_and_low
from gollum.surrogates.base import Fitted

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

BINS = 8
KINDS = ("high–high", "high–low", "low–low", "other")


def gradient_of(fitted: Fitted) -> Matrix:
    """½(ααᵀ − Σ⁻¹) of the n measurements of a fitted process, n x n, from what any `Fitted` tells.

    With C the posterior covariance and μ the posterior mean of the measured points,
    Σ⁻¹ = (I − C/σ²)/σ² and α = (y − μ)/σ².
    """
    noise = fitted.noise
    targets = ((fitted.utility - fitted.location) / fitted.scale).cpu().numpy()
    mean = fitted.standardised(fitted.rows)[0].cpu().numpy()
    left = fitted.covariance(fitted.rows, fitted.rows).cpu().numpy()
    alpha = (targets - mean) / noise
    inverse = (np.eye(len(targets)) - left / noise) / noise
    gradient: Matrix = 0.5 * (np.outer(alpha, alpha) - inverse)
    return gradient


def pairs(
    gradient: Matrix, outcomes: Vector, ids: Sequence[str], similarity: Matrix
) -> pd.DataFrame:
    """A row per pair of n measurements, by rising difference of their outcomes.

    Args:
        gradient: n x n, of the covariance.
        outcomes: n utilities.
        ids: n.
        similarity: n x n, correlations under the kernel.

    Returns:
        Columns first, second, kind (of `KINDS`), difference (of the outcomes), similarity and
        gradient (∂L/∂k of the pair, both places of it).
    """
    one, other = np.triu_indices(len(outcomes), 1)
    labels = high_and_low(outcomes)
    both = labels[one] * labels[other]
    kind = np.where(both == HIGH * LOW, KINDS[1], KINDS[3]).astype(object)
    kind[(both == 1) & (labels[one] == HIGH)] = KINDS[0]
    kind[(both == 1) & (labels[one] == LOW)] = KINDS[2]
    names = np.asarray(ids, dtype=object)
    table = pd.DataFrame(
        {
            "first": names[one],
            "second": names[other],
            "kind": kind.astype(str),
            "difference": np.abs(outcomes[one] - outcomes[other]),
            "similarity": similarity[one, other],
            "gradient": 2.0 * gradient[one, other],
        }
    )
    return table.sort_values("difference", kind="stable", ignore_index=True)


def by_difference(table: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """Pairs in bins of nearly equal numbers, by rising difference of their outcomes.

    Returns:
        Columns difference (mean), pairs, gradient (mean), low and high (quartiles), and together
        (share of pairs that are pulled together).
    """
    count, rows = min(bins, len(table)), []
    for part in np.array_split(np.arange(len(table)), count) if count else ():
        found = table.iloc[part]
        slope = found["gradient"].to_numpy(dtype=np.float64)
        quartiles = np.quantile(slope, [0.25, 0.75]).tolist()
        together = float((slope > 0).mean())
        rows.append((found["difference"].mean(), len(found), slope.mean(), *quartiles, together))
    return pd.DataFrame(
        rows, columns=["difference", "pairs", "gradient", "low", "high", "together"]
    )


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Mean gradient and share pulled together of high–high, high–low and low–low pairs."""
    told = table[table["kind"] != KINDS[3]]
    found = told.groupby("kind")["gradient"].agg(
        pairs="size", gradient="mean", together=lambda slope: float((slope > 0).mean())
    )
    return found.reindex([k for k in KINDS[:3] if k in found.index]).reset_index()
