"""First experiments, before there is anything to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.limits import NO_LIMITS, Limits, Rows
from gollum.data.pool import Pool, cell_text
from gollum.features.fixed.columns import one_hot

STEPS = 12  # of a number, up to which a first design takes each for an option
MOST_OPTIONS = 1000  # of all columns, for a one-hot first design
REFERENCES, CANDIDATES = 2000, 5000  # sizes of the samples that stand for larger pools


def representative(
    features: NDArray[np.float64],
    rows: Rows,
    n: int,
    seed: int,
    taken: Rows | None = None,
    limits: Limits = NO_LIMITS,
    options: Sequence[Rows] = (),
) -> list[int]:
    """Candidates that leave no part of the pool far from one of them.

    Where there are options, those tried least come first.

    Greedy k-medians: each next one lowers the mean distance between a candidate and the nearest
    chosen one the most (facility location; Nemhauser, Wolsey and Fisher 1978 bound what greedy
    loses). Unlike farthest-point designs it does not begin with outliers.

    Args:
        features: N x d.
        rows: positions that may be chosen; of many, a random sample is looked at.
        n: how many to choose; fewer when candidates or limits end before.
        seed: of the samples and of ties.
        taken: positions that are measured or pending.
        limits: what the batch must not exceed.
        options: for each column, which option each of N candidates has (numbers from 0 on).

    Returns:
        Positions, in the order of choosing.
    """
    rng = np.random.default_rng(seed)
    everything = rng.permutation(len(features))
    references = features[everything[:REFERENCES]]
    rows = rng.permutation(rows)[: max(CANDIDATES, n)]
    distances = _distances(features[rows], references)
    to_chosen = np.full(len(references), distances.max() if distances.size else 0.0)
    if taken is not None and len(taken):
        to_chosen = np.minimum(to_chosen, _distances(features[taken], references).min(axis=0))
    chosen: list[int] = []
    left = limits.allowed(rows, chosen)
    while left.any() and len(chosen) < n:
        gains = np.maximum(to_chosen - distances, 0.0).sum(axis=1)
        used = _used(options, rows, [*(() if taken is None else taken.tolist()), *chosen])
        least = left & (used == used[left].min())
        best = int(np.argmax(np.where(least, gains, -1.0)))
        chosen.append(int(rows[best]))
        to_chosen = np.minimum(to_chosen, distances[best])
        left[best] = False
        left &= limits.allowed(rows, chosen)
    return chosen


def codes_of(pool: Pool, column: str) -> Rows:
    """Which value of a column each of N candidates has, as numbers from 0 on in their order."""
    codes, _ = pd.factorize(pool.table[column], sort=True, use_na_sentinel=False)
    return codes.astype(np.int64)


def few_options(pool: Pool) -> list[Rows]:
    """For each column of few values, which of them each of N candidates has."""
    return [
        codes_of(pool, str(column))
        for column in pool.table
        if 1 < pool.table[column].nunique() <= STEPS
    ]


def features_of_first_design(pool: Pool) -> NDArray[np.float64] | None:
    """One-hot features in which numbers of a few steps are options like others; N x d.

    None where a column of text differs in most rows, as in a list of molecules: then only a model
    of the text knows which experiments are alike.
    """
    table = pool.table.copy()
    for column in table.select_dtypes("number"):
        if table[column].nunique() <= STEPS:
            table[column] = [cell_text(cell) for cell in table[column]]
    options = table.select_dtypes(exclude="number").nunique()
    if (2 * options > len(table)).any() or options.sum() > MOST_OPTIONS:
        return None
    features: NDArray[np.float64] = one_hot(replace(pool, table=table, orders={})).matrix
    return features


def _used(options: Sequence[Rows], rows: Rows, held: Sequence[int]) -> Rows:
    """How often the options of each of m candidates were tried, all columns together; m."""
    counts = np.zeros(len(rows), dtype=np.int64)
    for option in options:
        counts += np.bincount(option[list(held)], minlength=int(option.max()) + 1)[option[rows]]
    return counts


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances, n x m."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0.0))
    return distances
