"""Maps: a latent space in two dimensions."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from gollum.errors import MissingExtraError

Matrix = NDArray[np.float64]

FEWEST = 3  # points that a map needs
NEIGHBOURS = 15  # of each point, that UMAP keeps close


def principal(features: Matrix) -> tuple[Matrix, float]:
    """The two directions in which n points vary most, and the share of the variance in them.

    Args:
        features: n x d, n ≥ `FEWEST`.

    Returns:
        n x 2, and a number in [0, 1].
    """
    from sklearn.decomposition import PCA

    count = min(2, *features.shape)
    if np.ptp(features, axis=0).max(initial=0.0) == 0:
        return np.zeros((len(features), 2)), 0.0
    fitted = PCA(count, svd_solver="full")
    found = np.zeros((len(features), 2))
    found[:, :count] = fitted.fit_transform(features)
    return found, float(fitted.explained_variance_ratio_.sum())


def has_umap() -> bool:
    """Whether the package is there."""
    return find_spec("umap") is not None


def umap(features: Matrix, seed: int = 0) -> Matrix:
    """Neighbourhoods of n points in two dimensions (McInnes et al. 2018); n x 2.

    Args:
        features: n x d, n > 3.
        seed: the same points and seed give the same map.

    Raises:
        MissingExtraError: the package is not there.
    """
    if not has_umap():
        raise MissingExtraError("A UMAP", "analyze")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, and of one thread where a seed is given
        from umap import UMAP

        near = min(NEIGHBOURS, len(features) - 1)
        made = UMAP(n_components=2, n_neighbors=near, random_state=seed, n_jobs=1, init="pca")
        found: Matrix = np.asarray(made.fit_transform(features), dtype=np.float64)
    return found


def turned_to(before: Matrix, now: Matrix) -> Matrix:
    """A map turned or mirrored, and moved, so that its points lie as near those before as can be.

    Args:
        before: n x 2.
        now: n x 2.

    Returns:
        n x 2 with the distances of `now` (orthogonal Procrustes).
    """
    from scipy.linalg import orthogonal_procrustes

    old, new = before - before.mean(axis=0), now - now.mean(axis=0)
    turn, _ = orthogonal_procrustes(new, old)
    found: Matrix = new @ turn + before.mean(axis=0)
    return found
