"""How a model arranges experiments: distances, clusters and neighbourhoods in its latent space.

Outcomes are utilities, so larger is better; *high* are the experiments at or above their upper
quartile, *low* those at or below their lower one, and the rest is neither.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]

FRACTION = 0.25  # of the outcomes that are high, and that are low
NEIGHBOURS = 5
HIGH, LOW, NEITHER = 1, -1, 0


class Geometry(NamedTuple):
    """Figures of n points; not-a-number where there is too little to compute one.

    Attributes:
        points: n.
        mean_distance: d̄, mean Euclidean distance of all pairs.
        high_high: mean distance of pairs with two high outcomes.
        high_low: of pairs with a high and a low one.
        low_low: of pairs with two low ones.
        contrast: high_low over the mean of high_high and low_low; above 1 where what has another
            outcome lies further away, as a contrastive loss would have it.
        silhouette: mean silhouette of high and low, from −1 to 1 (Rousseeuw, J. Comput. Appl.
            Math. 1987, 20, 53).
        neighbour_correlation: Pearson correlation of an outcome with the mean of its five nearest
            neighbours'.
        alignment: mean squared distance of two high points, all scaled to length 1 (Wang & Isola,
            ICML 2020, eq. 1 with α = 2); smaller is tighter.
        uniformity: log mean exp(−2 d²) of all pairs of the same (eq. 2, t = 2); more negative is
            more evenly spread over the sphere.
        effective_rank: exp of the entropy of the centred features' singular values (Roy & Vetterli,
            EUSIPCO 2007): how many directions are in use.
        lengthscale: ℓ of the kernel, where it has one.
        lengthscale_ratio: ℓ / d̄ of arXiv 2504.06265.
    """

    points: int
    mean_distance: float
    high_high: float
    high_low: float
    low_low: float
    contrast: float
    silhouette: float
    neighbour_correlation: float
    alignment: float
    uniformity: float
    effective_rank: float
    lengthscale: float
    lengthscale_ratio: float


def geometry(features: Matrix, outcomes: Vector, lengthscale: float = float("nan")) -> Geometry:
    """Describe how points with known outcomes lie.

    Args:
        features: n x d.
        outcomes: n utilities.
        lengthscale: of the kernel on these features.
    """
    condensed = pdist(features)
    distances, labels = squareform(condensed), high_and_low(outcomes)
    apart = _grouped(distances, labels)
    mean = float(condensed.mean()) if len(condensed) else float("nan")
    within = 0.5 * (apart["high_high"] + apart["low_low"])
    sphere = unit_length(features)
    return Geometry(
        points=len(outcomes),
        mean_distance=mean,
        **apart,
        contrast=_share(apart["high_low"], within),
        silhouette=_silhouette(distances, labels),
        neighbour_correlation=neighbour_correlation(distances, outcomes),
        alignment=alignment(sphere[labels == HIGH]),
        uniformity=uniformity(sphere),
        effective_rank=effective_rank(features),
        lengthscale=lengthscale,
        lengthscale_ratio=_share(lengthscale, mean),
    )


def high_and_low(outcomes: Vector, fraction: float = FRACTION) -> Labels:
    """`HIGH`, `LOW` or `NEITHER` of each of n utilities; all neither where the ends coincide."""
    low, high = np.quantile(outcomes, [fraction, 1 - fraction])
    if not low < high:
        return np.full(len(outcomes), NEITHER)
    return np.where(outcomes >= high, HIGH, np.where(outcomes <= low, LOW, NEITHER))


def neighbour_correlation(distances: Matrix, outcomes: Vector, k: int = NEIGHBOURS) -> float:
    """Pearson correlation of n outcomes with the mean outcome of the k nearest others.

    Args:
        distances: n x n.
        outcomes: n.
        k: how many; not-a-number with fewer others.
    """
    if len(outcomes) <= k + 1:
        return float("nan")
    others = distances + np.diag(np.full(len(outcomes), np.inf))
    nearest = np.argsort(others, axis=1, kind="stable")[:, :k]
    expected = outcomes[nearest].mean(axis=1)
    if np.ptp(expected) == 0 or np.ptp(outcomes) == 0:
        return float("nan")
    return float(np.corrcoef(expected, outcomes)[0, 1])


def alignment(positives: Matrix) -> float:
    """Mean squared distance of two of n points of length 1, n x d."""
    return float(np.mean(pdist(positives, "sqeuclidean"))) if len(positives) > 1 else float("nan")


def uniformity(sphere: Matrix, t: float = 2.0) -> float:
    """Log of the mean of exp(−t d²) over all pairs of n points of length 1, n x d."""
    if len(sphere) < 2:
        return float("nan")
    return float(np.log(np.mean(np.exp(-t * pdist(sphere, "sqeuclidean")))))


def effective_rank(features: Matrix) -> float:
    """exp(−Σ p log p), p the singular values of the centred features (n x d) over their sum."""
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    values = values[values > 1e-12 * max(values.max(initial=0.0), 1e-300)]
    if len(values) == 0 or values.sum() == 0:
        return float("nan")
    share = values / values.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def unit_length(features: Matrix) -> Matrix:
    """Features n x d scaled to length 1; what is zero stays so."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Matrix = features / np.where(length > 0, length, 1.0)
    return scaled


def from_similarity(similarity: Matrix) -> Matrix:
    """Points of length 1 whose inner products are a kernel's correlations, n x r.

    For models whose features lie in no one space: distances are √(2 − 2k), those of the kernel's
    own space.

    Args:
        similarity: n x n, symmetric, 1 on the diagonal.
    """
    values, vectors = np.linalg.eigh(0.5 * (similarity + similarity.T))
    kept = values > 1e-10 * values.max()
    found: Matrix = (vectors[:, kept] * np.sqrt(values[kept]))[:, ::-1]
    return found


def _grouped(distances: Matrix, labels: Labels) -> dict[str, float]:
    """Mean distances of pairs by the groups of both."""
    upper = np.triu(np.ones(distances.shape, dtype=bool), 1)
    pairs = {"high_high": (HIGH, HIGH), "high_low": (HIGH, LOW), "low_low": (LOW, LOW)}
    found = {}
    for name, (one, other) in pairs.items():
        of = (labels[:, None] == one) & (labels == other)
        of = (of | of.T) & upper
        found[name] = float(distances[of].mean()) if of.any() else float("nan")
    return found


def _silhouette(distances: Matrix, labels: Labels) -> float:
    from sklearn.metrics import silhouette_score

    told = labels != NEITHER
    sizes = [int((labels == one).sum()) for one in (HIGH, LOW)]
    if min(sizes) < 1 or sum(sizes) < 3:
        return float("nan")
    part = distances[np.ix_(told, told)]
    return float(silhouette_score(part, labels[told], metric="precomputed"))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
