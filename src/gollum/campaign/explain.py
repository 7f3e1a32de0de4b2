"""Why an experiment is suggested: what it resembles, which cells speak for it, what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gollum.campaign.events import Effect, Neighbour
from gollum.campaign.state import State
from gollum.data.pool import cell_text
from gollum.surrogates.base import Fitted

NEIGHBOURS = 3
ALIKE = 0.05  # smallest correlation that is worth a word
BINS = 8  # of numeric columns with more values
WITHIN, BEYOND = 0.5, 1.5  # posterior deviations below the best: exploit up to, explore from

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MainEffects:
    """What each cell does to the prediction, averaged over the pool.

    Attributes:
        table: a row per column and value (numbers in bins) with `column, value, effect, measured`:
            the mean prediction of candidates with the value less that of all, in units of the
            objective, and how many measured experiments have it.
        of_row: for each of N candidates and each column, the row of `table`.
    """

    table: pd.DataFrame
    of_row: NDArray[np.int64]

    def effects(self, row: int) -> tuple[Effect, ...]:
        """Those of one candidate, largest first."""
        found = self.table.iloc[self.of_row[row]]
        order = found["effect"].abs().sort_values(ascending=False, kind="stable").index
        return tuple(
            Effect(column=e["column"], value=e["value"], effect=e["effect"])
            for e in found.loc[order].to_dict("records")
        )


def main_effects(state: State, predicted: Vector) -> MainEffects:
    """First-order effects of the posterior mean over the pool.

    Left out are columns with one value, and those where most values occur once, of which a mean
    over the pool says nothing.

    Args:
        state: the campaign.
        predicted: N posterior means, in units of the objective.
    """
    ids, _ = state.observations()
    measured = state.table.index.isin(ids)
    overall = float(predicted.mean())
    tables: list[pd.DataFrame] = []
    of_row: list[NDArray[np.int64]] = []
    start = 0
    for column in map(str, state.table.columns):
        codes, labels = _groups(state.table[column])
        if len(labels) < 2 or 2 * len(labels) > len(codes) + 2:
            continue
        counts = np.bincount(codes, minlength=len(labels))
        effects = np.bincount(codes, predicted, len(labels)) / np.maximum(counts, 1) - overall
        tables.append(
            pd.DataFrame(
                {
                    "column": column,
                    "value": labels,
                    "effect": effects,
                    "measured": np.bincount(codes[measured], minlength=len(labels)),
                }
            )
        )
        of_row.append(codes + start)
        start += len(labels)
    if not tables:
        empty = pd.DataFrame(columns=["column", "value", "effect", "measured"])
        return MainEffects(empty, np.empty((len(predicted), 0), dtype=np.int64))
    table = pd.concat(tables, ignore_index=True)
    return MainEffects(table, np.stack(of_row, axis=1))


@torch.no_grad()
def neighbours(state: State, fitted: Fitted, row: int) -> tuple[Neighbour, ...]:
    """The measured experiments that the model thinks most alike, with their mean results."""
    means = state.means()
    if means.empty:
        return ()
    measured = fitted.pool.positions(means.index)
    similarity = fitted.similarity(np.array([row]), measured)[0].tolist()
    known = zip(similarity, means.index.tolist(), means.tolist(), strict=True)
    nearest = sorted(known, key=lambda found: -found[0])[:NEIGHBOURS]
    return tuple(Neighbour(id=i, value=v, similarity=s) for s, i, v in nearest if s >= ALIKE)


def intent(
    merit: Sequence[float], deviation: Sequence[float], best: float
) -> list[Literal["explore", "balance", "exploit"]]:
    """Whether suggestions use what is known or find out something new.

    Args:
        merit: how good the predicted means are, larger is better.
        deviation: posterior standard deviations, in the same unit.
        best: merit of the best measurement.
    """
    found: list[Literal["explore", "balance", "exploit"]] = []
    for value, sigma in zip(merit, deviation, strict=True):
        below = (best - value) / max(sigma, 1e-12)
        found.append("exploit" if below <= WITHIN else "explore" if below >= BEYOND else "balance")
    return found


def _groups(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """Group of each of N cells, and the groups' labels."""
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
