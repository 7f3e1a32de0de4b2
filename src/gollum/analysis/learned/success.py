"""Which figure of a fit goes with finding the best experiments, over records of many runs.

The paper reports a correlation with success of 0.92 for ℓ/d̄ and 0.78 for R². What is a point, a run
or the mean of a method, decides much of such a number, so it is told for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.comparison import COVERAGE
from gollum.analysis.metrics import QUALITY
from gollum.analysis.runs import labelled
from gollum.errors import DataError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

RATIO, R2 = "latent_distance_ratio", "r2"
RESAMPLES = 2000
FEWEST_TASKS = 3  # before an interval is given
COLUMNS = [
    "over", "figure", "points", "tasks", "r", "low", "high", "lead", "lead_low", "lead_high",
]  # fmt: skip
LEVELS = ("runs", "tasks and methods", "within tasks", "methods")


def complete_runs(
    table: pd.DataFrame,
    joined: Mapping[str, Sequence[str]] | None = None,
    outcome: str = COVERAGE,
) -> pd.DataFrame:
    """Runs with ℓ/d̄, R² and a measure of success, with a column `method`.

    Args:
        table: records.
        joined: new name → methods that count as one, as `labelled` takes them.
        outcome: the column that says how successful a run was.

    Raises:
        DataError: there are too few, as the records were made without `quality`.
    """
    runs = labelled(table, pd.DataFrame(), joined)[0]
    known = runs.dropna(subset=[RATIO, R2, outcome])
    if len(known) < 3:
        raise DataError(
            f"{len(known)} of {len(runs)} runs of these records have ℓ/d̄ and R², and a correlation "
            "needs 3; run the sweep with `quality: true` and a surrogate with one lengthscale."
        )
    return known.reset_index(drop=True)


def predictors(
    runs: pd.DataFrame, figures: Sequence[str] = QUALITY, outcome: str = COVERAGE, seed: int = 0
) -> pd.DataFrame:
    """Correlation of each figure of a fit with success, where a point is one of `LEVELS`.

    'within tasks' takes each task's mean off first, 'methods' are means over the tasks that all
    methods have. Intervals hold 95 % of `RESAMPLES` bootstrap draws of whole tasks, since runs on
    one task are alike.

    Args:
        runs: as from `complete_runs`.
        figures: columns of it; those that it lacks are left out.
        outcome: the column that says how successful a run was.
        seed: of the resampling.

    Returns:
        Columns over, figure, points, tasks, r, low, high, and lead: r less that of R², with
        lead_low and lead_high; blank where there are too few tasks.
    """
    rows, figures = [], [f for f in figures if f in runs and runs[f].notna().sum() > 2]
    for level in LEVELS:
        points = _points(runs, [*figures, outcome], level)
        drawn = _draws(points["task"], seed)
        correlate = _of_methods if level == "methods" else _weighted
        found = {f: correlate(points, f, outcome, drawn) for f in figures}
        count = points["method"].nunique() if level == "methods" else len(points)
        tasks = points["task"].nunique()
        for figure, (r, resampled) in found.items():
            lead = r - found[R2][0] if R2 in found else np.nan
            beyond = resampled - found[R2][1] if R2 in found else np.full(len(resampled), np.nan)
            rows.append((level, figure, count, tasks, r, *_ends(resampled), lead, *_ends(beyond)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _points(runs: pd.DataFrame, columns: list[str], level: str) -> pd.DataFrame:
    if level == "runs":
        return runs[["task", "method", *columns]].astype(dict.fromkeys(columns, float))
    means = runs.groupby(["task", "method"])[columns].mean().astype(float)
    if level == "within tasks":
        means = means - means.groupby("task").transform("mean")
    if level == "methods":
        whole = means.reset_index().groupby("task")["method"].nunique()
        common = whole.index[whole == runs["method"].nunique()]
        means = means[means.index.get_level_values("task").isin(common)]
    return means.reset_index()


def _draws(tasks: pd.Series, seed: int) -> Matrix:
    """How often each row's task was drawn: first as it is, then in each of the resamples."""
    codes, names = pd.factorize(tasks)
    rng = np.random.default_rng(seed)
    if len(names) < FEWEST_TASKS:
        return np.ones((1, len(codes)))
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    found: Matrix = np.vstack([np.ones(len(names)), counts])[:, codes]
    return found


def _weighted(points: pd.DataFrame, x: str, y: str, drawn: Matrix) -> tuple[float, Vector]:
    """Pearson correlation with weights: of the points as they are, and of each resample."""
    both = points[[x, y]].to_numpy(dtype=np.float64)
    known = np.isfinite(both).all(axis=1)
    a, b = both[known].T
    weights = drawn[:, known]
    return _pearson(a[None, :].repeat(len(weights), 0), b[None, :].repeat(len(weights), 0), weights)


def _of_methods(points: pd.DataFrame, x: str, y: str, drawn: Matrix) -> tuple[float, Vector]:
    """The same of methods' means over the tasks that were drawn."""
    if points.empty:
        return float("nan"), np.empty(0)
    codes, names = pd.factorize(points["method"])
    of = np.eye(len(names))[codes]  # points x methods
    counts = drawn @ of
    a, b = ((drawn * points[c].to_numpy(dtype=np.float64)) @ of / counts for c in (x, y))
    return _pearson(a, b, np.ones_like(a))


def _pearson(a: Matrix, b: Matrix, weights: Matrix) -> tuple[float, Vector]:
    """Row by row; the first row is that of the points as they are."""
    if a.shape[1] < 3:
        return float("nan"), np.empty(0)
    total = weights.sum(1, keepdims=True)
    a = a - (weights * a).sum(1, keepdims=True) / total
    b = b - (weights * b).sum(1, keepdims=True) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (weights * a * b).sum(1) / np.sqrt((weights * a**2).sum(1) * (weights * b**2).sum(1))
    return float(r[0]), r[1:]


def _ends(resampled: Vector) -> tuple[float, float]:
    known = resampled[np.isfinite(resampled)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
