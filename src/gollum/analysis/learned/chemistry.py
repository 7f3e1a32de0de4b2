"""What a model makes of each reagent: effects, exchanges, and which results made a prediction.

All is asked through `Fitted`. A difference of averages of predictions is normal with mean wᵀμ and
variance wᵀCw, where w are the weights of the candidates and C is their posterior covariance.
Numbers are in what the model learns, times the sign that gives them the objective's direction: the
objective's own unit, unless it is learned on a log or logit scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gollum.analysis.metrics import INTERVAL
from gollum.data.pool import Pool, cell_text
from gollum.errors import DataError
from gollum.features.fixed.columns import partition
from gollum.surrogates.base import Fitted, Rows

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

BINS = 8  # of numeric columns with more values
MOST = 100  # levels of a column that are exchanged for one another
REPLACED = [
    "id", "column", "value", "instead", "mean", "deviation", "mean_instead", "deviation_instead",
    "change", "change_deviation", "observed", "observed_instead",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Predicted:
    """Posterior of some candidates, in the objective's direction.

    Attributes:
        fitted: the model.
        sign: −1 where less is better.
        rows: m positions in the pool.
    """

    fitted: Fitted
    sign: float
    rows: Rows

    @cached_property
    def mean(self) -> Vector:
        """Posterior means; m."""
        return self.sign * self.fitted.marginals(self.rows)[0].cpu().numpy()

    @cached_property
    def covariance(self) -> Matrix:
        """Posterior covariance, m x m, without noise."""
        found: Matrix = self.fitted.covariance(self.rows, self.rows).cpu().numpy()
        return float(self.fitted.scale.item()) ** 2 * found

    def contrast(self, weights: Vector) -> tuple[float, float]:
        """Mean and standard deviation of Σ w f for m weights."""
        variance = float(weights @ self.covariance @ weights)
        return float(weights @ self.mean), float(np.sqrt(max(variance, 0.0)))


def components(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Columns that vary, those that rename each other together, the most readable one first.

    A ligand's name and its SMILES are one component. Where most values occur once, such as a number
    that differs in every row, a column is left out, as nothing can be exchanged for anything.
    """
    groups: dict[bytes, list[str]] = {}
    for column in map(str, table.columns):
        key = partition(table[column])
        if key is not None and 2 * table[column].nunique() <= len(table) + 2:
            groups.setdefault(key, []).append(column)
    return [tuple(sorted(g, key=lambda c: _length(pd.Series(table[c])))) for g in groups.values()]


def _length(column: pd.Series) -> float:
    """Mean length of a column's cells; structures, which nobody reads, count as long."""
    plain = "smiles" not in str(column.name).casefold()
    return float(column.astype(str).str.len().mean()) + (0.0 if plain else 1e6)


def groups(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Group of each of N cells, and the groups' labels: levels, or bins of many numbers."""
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > BINS:
        bins = pd.qcut(column, BINS, duplicates="drop")
        codes = np.array(bins.cat.codes, dtype=np.int64)
        labels = [f"{i.left:.4g} to {i.right:.4g}" for i in bins.cat.categories]
        if (codes < 0).any():
            codes = np.where(codes < 0, len(labels), codes)
            labels.append("")
        return codes, labels
    numbers, levels = pd.factorize(column, use_na_sentinel=False)
    whole: NDArray[np.int64] = numbers.astype(np.int64)
    return whole, [cell_text(level) for level in levels]


def effects(predicted: Predicted, pool: Pool) -> pd.DataFrame:
    """By how much candidates with a value differ from all, per column and value.

    Args:
        predicted: of m candidates.
        pool: their pool; where it knows all their outcomes, these say what is true.

    Returns:
        Columns column, value, candidates, measured, effect, low, high (95 %), and observed: the
        same difference of the outcomes themselves, or blank where some are not known.
    """
    table, truth = pool.table.iloc[predicted.rows], pool.values[predicted.rows]
    measured = np.isin(predicted.rows, predicted.fitted.rows)
    rows = []
    for names in components(table):
        codes, labels = groups(table[names[0]])
        for code, label in enumerate(labels):
            of = codes == code
            weights = of / of.sum() - 1.0 / len(of)
            effect, deviation = predicted.contrast(weights)
            observed = float(weights @ truth) if np.isfinite(truth).all() else np.nan
            ends = effect - INTERVAL * deviation, effect + INTERVAL * deviation
            rows.append((names[0], label, int(of.sum()), int((of & measured).sum()), effect, *ends,
                         observed))  # fmt: skip
    columns = ["column", "value", "candidates", "measured", "effect", "low", "high", "observed"]
    return pd.DataFrame(rows, columns=columns)


def replacements(fitted: Fitted, pool: Pool, ids: Sequence[str], sign: float) -> pd.DataFrame:
    """What would come out with one reagent replaced by another one of the pool.

    Args:
        fitted: the model.
        pool: its pool.
        ids: experiments to change.
        sign: −1 where less is better.

    Returns:
        A row per experiment, component and other value: id, column, value, instead, mean and
        deviation (of the experiment), mean_instead and deviation_instead, change, change_deviation
        (of what is true, so that what both have in common cancels), observed and observed_instead
        (outcomes, where known). A change that is no candidate is read by the model, where it can.
    """
    table, found = pool.table, []
    known = {key: i for i, key in enumerate(_keys(table))}
    numbers = set(pool.numeric_columns())
    for position in pool.positions(ids):
        own = table.iloc[[position]]
        for names in components(table):
            most = BINS if names[0] in numbers else MOST
            if table[names[0]].nunique() > most:
                continue
            levels = table[list(names)].drop_duplicates(names[0])
            others = levels[levels[names[0]] != own[names[0]].iloc[0]]
            changed = pd.concat([own] * len(others)).set_axis(
                [f"~{i}" for i in range(len(others))], axis=0
            )
            for name in names:
                changed[name] = others[name].to_numpy()
            places = [known.get(key, -1) for key in _keys(changed)]
            found.append((position, names[0], changed, places))
    rows = [row for part in found for row in _replaced(fitted, pool, *part, sign)]
    return pd.DataFrame(rows, columns=REPLACED)


def _replaced(
    fitted: Fitted,
    pool: Pool,
    position: int,
    column: str,
    changed: pd.DataFrame,
    places: list[int],
    sign: float,
) -> list[tuple[object, ...]]:
    """Rows of one experiment and column."""
    new = changed[[place < 0 for place in places]]
    kept = np.array([position, *(p for p in places if p >= 0)], dtype=np.int64)
    model, at = fitted, dict[int, int]()
    if len(new):
        every = np.unique(np.concatenate([kept, fitted.rows]))
        try:
            model = fitted.over(every, new)
        except DataError:  # it reads no other rows
            new = new[:0]
        at = {int(row): i for i, row in enumerate(every)} if len(new) else {}
    extra = iter(range(len(at), len(at) + len(new)))
    others = [next(extra, -1) if place < 0 else at.get(place, place) for place in places]
    read = [i for i, other in enumerate(others) if other >= 0]
    where = np.array([at.get(position, position), *(others[i] for i in read)], dtype=np.int64)
    told = Predicted(model, sign, where)
    deviations = np.sqrt(np.clip(told.covariance.diagonal(), 0.0, None))
    value, rows = cell_text(pool.table[column].iloc[position]), list[tuple[object, ...]]()
    for number, i in enumerate(read, start=1):
        weights = np.zeros(len(where))
        weights[[0, number]] = -1.0, 1.0
        truth = pool.values[position], pool.values[places[i]] if places[i] >= 0 else np.nan
        rows.append(
            (str(pool.ids[position]), column, value, cell_text(changed[column].iloc[i]),
             told.mean[0], deviations[0], told.mean[number], deviations[number],
             *told.contrast(weights), *truth)
        )  # fmt: skip
    return rows


def _keys(table: pd.DataFrame) -> list[int]:
    numbers: list[int] = pd.util.hash_pandas_object(table, index=False).tolist()
    return numbers


def neighbours(fitted: Fitted, ids: Sequence[str], sign: float, count: int = 5) -> pd.DataFrame:
    """The measurements that made a prediction.

    A process predicts μ(x) = m + Σ w_i (y_i − m); with C the posterior covariance, w = C(x, X)/σ².
    For models that average over processes these weights do not exist, and are blank.

    Args:
        fitted: the model.
        ids: experiments that are predicted.
        sign: −1 where less is better.
        count: most similar or weightiest measurements of each.

    Returns:
        Columns id, neighbour, similarity (0 to 1), outcome, weight and contribution (of the
        neighbour to the prediction, relative to the mean of all results), the largest
        contributions first.
    """
    pool, where = fitted.pool, fitted.pool.positions(ids)
    alike = fitted.similarity(where, fitted.rows).cpu().numpy()
    utility = fitted.utility.cpu().numpy()
    process = fitted.latent(where) is not None
    with torch.no_grad():
        left = fitted.covariance(where, fitted.rows).cpu().numpy() if process else alike * np.nan
    weights = left / fitted.noise
    off = sign * (utility - float(fitted.location.item()))
    rows = []
    for i, candidate in enumerate(ids):
        strength = np.abs(weights[i] * off) if process else alike[i]
        rows += [
            (candidate, str(pool.ids[fitted.rows[j]]), alike[i, j], sign * utility[j],
             weights[i, j], weights[i, j] * off[j])
            for j in np.argsort(-strength, kind="stable")[:count]
        ]  # fmt: skip
    columns = ["id", "neighbour", "similarity", "outcome", "weight", "contribution"]
    return pd.DataFrame(rows, columns=columns)
