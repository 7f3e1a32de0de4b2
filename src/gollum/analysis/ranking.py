"""Average ranks over tasks, with Friedman's test and Nemenyi's critical difference.

J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006, 7, 1–30.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SIGNIFICANCE = 0.05
DECIMALS = 12  # means that differ by rounding only are ties


@dataclass(frozen=True, eq=False)
class Ranking:
    """How methods stand over the tasks that all of them have.

    Attributes:
        ranks: average rank of each method, 1 the best; ascending.
        tasks: the tasks that were ranked.
        left_out: methods with records on fewer than half of all tasks, and the rarest of the
            others where there would be fewer than two tasks that all of them have.
        statistic: Friedman's χ²; NaN for two methods, or where everything ties.
        p_value: of the hypothesis that no method differs.
        critical_difference: ranks further apart differ at the 5 % level.
        p_values: methods x methods, Nemenyi's test of each pair.
    """

    ranks: pd.Series[float]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    statistic: float
    p_value: float
    critical_difference: float
    p_values: pd.DataFrame

    def cliques(self) -> list[tuple[str, str]]:
        """Longest ranges (best, worst) of two or more methods within the critical difference."""
        ranks = self.ranks.to_numpy()
        ends = np.searchsorted(ranks, ranks + self.critical_difference, side="right") - 1
        names = [str(m) for m in self.ranks.index]
        return [
            (names[start], names[end])
            for start, end in enumerate(ends)
            if end > start and (start == 0 or end > ends[start - 1])
        ]


def rank_methods(scores: pd.DataFrame) -> Ranking | None:
    """Rank methods on every task and average.

    Args:
        scores: tasks x methods, larger is better, NaN where a method has no record. Methods on
            fewer than half of the tasks are left out; of the rest, only tasks that all have count.
            As long as these are fewer than two, the rarest methods are left out as well.

    Returns:
        None where fewer than two methods or two tasks remain.
    """
    from scipy.stats import friedmanchisquare, studentized_range

    on = scores.notna().sum()
    often = on >= 0.5 * len(scores)
    while often.any() and len(scores.loc[:, often].dropna()) < 2:
        often &= on > on[often].min()
    complete = scores.loc[:, often].dropna().round(DECIMALS)
    n, k = complete.shape
    if n < 2 or k < 2:
        return None
    statistic = p_value = float("nan")
    if k > 2 and bool((complete.nunique(axis=1) > 1).any()):
        statistic, p_value = map(float, friedmanchisquare(*complete.to_numpy().T))
    ranks = complete.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    apart = np.abs(np.subtract.outer(ranks.to_numpy(), ranks.to_numpy()))
    # The range of k ranks is studentized by their own deviation, that of a difference / √2.
    deviation = np.sqrt(k * (k + 1) / (12 * n))
    return Ranking(
        ranks,
        tuple(str(task) for task in complete.index),
        tuple(str(method) for method in scores.columns[~often]),
        statistic,
        p_value,
        float(deviation * studentized_range.isf(SIGNIFICANCE, k, np.inf)),
        pd.DataFrame(
            studentized_range.sf(apart / deviation, k, np.inf), ranks.index, list(ranks.index)
        ),
    )
