"""What the model expects of every candidate, as tables and as a map of two columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.model_based import Modelled, models_of
from gollum.acquisition.strategy import Observed, Selection
from gollum.campaign.explain import Explained, interval, main_effects
from gollum.campaign.planning import (
    has_enough,
    observed,
    strategy_of,
    stream_of,
    widenings,
)
from gollum.campaign.sheets import predicted_frame
from gollum.campaign.state import State
from gollum.data.pool import cell_text
from gollum.errors import UserError
from gollum.features.fixed.columns import partition
from gollum.listener import SILENT, Listener
from gollum.surrogates.base import Fitted

MOST = 40  # values of a column on a map


class _Models(NamedTuple):
    """Models of all outcomes, given all results, and factors on their deviations."""

    outcomes: tuple[Observed, ...]
    fitted: Fitted
    others: Mapping[str, Fitted]
    wider: dict[str, float]


def predictions(state: State, listener: Listener = SILENT) -> pd.DataFrame | None:
    """Medians and 95 % intervals of measurements of every candidate, as those of suggestions.

    Returns:
        N x 3m table by id, whose columns are pairs: the name of each of m outcomes with
        'predicted', 'low' and 'high', in its unit. None before there are enough results, and where
        the campaign's strategy has no model.

    Raises:
        FitError: a model could not be fitted.
    """
    if (models := _models(state, listener)) is None:
        return None
    outcomes, first, others, wider = models
    rows, found = np.arange(len(first.pool)), dict[tuple[str, str], NDArray[np.float64]]()
    for one, fitted in ((outcomes[0], first), *Modelled(outcomes, first, others).further):
        name = one.outcome.name
        low, high = interval(one, fitted, rows, wider[name])
        mean = one.scale.values(fitted.marginals(rows)[0].cpu().numpy())
        found |= {(name, "predicted"): mean, (name, "low"): low, (name, "high"): high}
    return pd.DataFrame(found, index=pd.Index(first.pool.ids, name="id"))


def forecast(state: State, listener: Listener = SILENT) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every candidate with predictions, as a sheet for people, and a map.

    Returns:
        The candidates with predictions, and the map of the two columns that matter most
        (`map_of`), which has no rows where there are no such two.

    Raises:
        UserError: there are too few results, or the campaign's strategy has no model.
        FitError: the model could not be fitted.
    """
    if (models := _models(state, listener)) is None:
        raise UserError(
            f"{state.created.name}: there is no model yet; it takes results of at least two "
            "different experiments that are not all equal."
        )
    outcomes, fitted, others, wider = models
    chosen = Selection(tuple(map(str, fitted.pool.ids)), fitted=fitted, others=others)
    explained = Explained(state, chosen, outcomes, wider)
    expected = explained.expected(np.arange(len(fitted.pool)))
    return predicted_frame(state, expected), map_of(state, explained.predicted)


def _models(state: State, listener: Listener) -> _Models | None:
    """Fit to all results; None where there is nothing to fit."""
    if not has_enough(state) or state.policy.factory is None:
        return None
    strategy = strategy_of(state, listener=listener)
    surrogate = strategy.surrogate
    assert surrogate is not None  # noqa: S101 (its policy has a factory)
    listener.stage("Fitting the model")
    outcomes = observed(state, strategy)
    fitted, others, notes = models_of(surrogate, outcomes, stream_of(state))
    listener.noted(notes)
    listener.stage("Checking the intervals")
    wider = widenings(state, surrogate, outcomes, others, listener)
    return _Models(outcomes, fitted, others, wider)


def map_of(
    state: State, predicted: np.ndarray, effects: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean predictions for each pair of values of the two columns that matter most.

    Args:
        state: the campaign.
        predicted: N predictions of one outcome.
        effects: what each value does to them, where that is known already.

    Returns:
        A row for each value of the column that matters most, which is the first one's name; the
        other columns are the values of the other one, best first where more is better.
    """
    effects = main_effects(state, predicted).table if effects is None else effects
    spans = effects.groupby("column", sort=False)["effect"].agg(np.ptp)
    few = [str(c) for c in spans.index if 1 < state.table[str(c)].nunique() <= MOST]
    chosen: list[str] = []
    for column in spans[few].sort_values(ascending=False, kind="stable").index.astype(str):
        parts = partition(state.table[column])  # a SMILES says the same as a name
        if len(chosen) < 2 and all(partition(state.table[other]) != parts for other in chosen):
            chosen.append(column)
    if len(chosen) < 2:
        return pd.DataFrame()
    first, second = chosen
    cells = pd.DataFrame(
        {
            first: state.table[first].map(cell_text).to_numpy(),
            " ": state.table[second].map(cell_text).to_numpy(),
            "": predicted,
        }
    )
    table = cells.pivot_table(index=first, columns=" ", values="", aggfunc="mean", sort=False)
    table = table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    table = table[table.mean().sort_values(ascending=False, kind="stable").index]
    named = table.rename(columns={cell: f"{second} {cell}".strip() for cell in table})
    return named.rename_axis(columns=None).reset_index()
