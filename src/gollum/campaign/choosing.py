"""Which candidates make a batch, under the limits of a request."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.batch import Selection, batch_improvement, select
from gollum.acquisition.criteria import Aim, score
from gollum.acquisition.design import representative
from gollum.acquisition.limits import Limits, Rows
from gollum.campaign.events import Request
from gollum.campaign.state import State, cell_text
from gollum.errors import DataError, UserError
from gollum.features.columns import one_hot
from gollum.surrogates.base import Fitted

CRITERION = "q_log_ei"
STEPS = 12  # of a number, up to which a first design takes each for an option
MOST_OPTIONS = 1000  # of all columns, for a one-hot first design
SHARED = 12  # values of a shared column that a whole batch is built for


def free_candidates(state: State, fresh: bool) -> Rows:
    """Positions of the candidates that may be suggested.

    Raises:
        DataError: there are none.
    """
    flags = state.open()
    if fresh:  # what is withdrawn may come again
        withdrawn = [plan.suggestion.id for plan in state.pending()]
        again = state.table.index.isin(withdrawn) & ~state.table.index.isin(state.done())
        flags |= again & ~state.locked()
    if not flags.any():
        locked = int(state.locked().sum())
        raise DataError(
            f"{state.created.name}: no candidate is left: all are measured, pending"
            + (f" or avoided ({locked})" if locked else "")
            + "; record new rows to add candidates, or lift what is avoided."
        )
    return np.flatnonzero(flags)


def _codes(state: State, column: str) -> Rows:
    return pd.factorize(state.table[column], use_na_sentinel=False)[0].astype(np.int64)


def limits_of(state: State, request: Request, taken: Rows) -> Limits:
    """What a batch must not exceed, given the positions that it holds already."""
    groups = tuple((_codes(state, column), most) for column, most in request.at_most.items())
    return Limits(groups, tuple(taken.tolist()))


def with_same(state: State, rows: Rows, taken: Rows, request: Request) -> Rows:
    """Only what shares its values with the batch so far.

    Raises:
        UserError: nothing does.
    """
    for column in request.same if len(taken) else ():
        codes = _codes(state, column)
        rows = rows[codes[rows] == codes[taken[0]]]
        if len(rows) == 0:
            value = cell_text(state.table[column].iloc[taken[0]])
            raise UserError(
                f"no further candidate has {column} = {value}, as the batch so far does."
            )
    return rows


def _plates(state: State, rows: Rows, request: Request, limits: Limits) -> list[Rows]:
    """The candidates apart by the values that a batch shares; one part without such columns.

    Raises:
        UserError: no candidate is within the limits.
    """
    plates = [rows]
    if request.same:
        keys = state.table.iloc[rows][list(request.same)]
        groups = keys.groupby(list(request.same), dropna=False).indices
        plates = [rows[np.asarray(part)] for part in groups.values()]
    plates = [plate for plate in plates if limits.allowed(plate, []).any()]
    if not plates:
        raise UserError("no candidate meets the limits of this request; loosen --at-most.")
    return plates


def _penalties(state: State, request: Request) -> NDArray[np.float64] | None:
    """Weight · log(cost) of every candidate: EI / cost^w (Snoek, Larochelle and Adams 2012)."""
    if not request.cost_weight or state.costs is None:
        return None
    costs = np.where(np.isnan(state.costs), np.nanmedian(state.costs), state.costs)
    return np.asarray(request.cost_weight * np.log(costs))


def best_batch(
    state: State,
    fitted: Fitted,
    rows: Rows,
    count: int,
    request: Request,
    limits: Limits,
    pending: Rows,
) -> Selection:
    """The best batch; with a shared column, the best of those that its values allow.

    Args:
        state: the campaign.
        fitted: the model, given all results.
        rows: positions that may be chosen.
        count: how many.
        request: what the batch shares, and how costs weigh.
        limits: what it must not exceed.
        pending: positions whose results are not there yet.

    Raises:
        UserError: no candidate is within the limits.
    """
    aim = aim_of(state, fitted)
    stream = (state.created.seed, state.learned, state.sequence)
    penalties = _penalties(state, request)

    def batch(part: Rows) -> Selection:
        return select(
            fitted, part, aim=aim, batch_size=count, seed=stream, pending=pending, limits=limits,
            penalties=penalties,
        )  # fmt: skip

    plates = _plates(state, rows, request, limits)
    if len(plates) == 1:
        return batch(plates[0])
    off = np.zeros(len(fitted.pool)) if penalties is None else penalties
    values = np.full(len(fitted.pool), -np.inf)
    values[rows] = score(fitted, rows, aim).cpu().numpy() - off[rows]
    full = [plate for plate in plates if len(plate) >= count] or plates
    full.sort(key=lambda plate: -values[plate].max())

    def worth(selection: Selection) -> float:
        chosen = fitted.pool.positions(selection.ids)
        gain = batch_improvement(fitted, chosen, aim, stream, pending)
        return math.log(max(gain, 1e-300)) - float(off[chosen].mean())

    return max(map(batch, full[:SHARED]), key=worth)


def first_batch(
    state: State,
    features: NDArray[np.float64],
    rows: Rows,
    count: int,
    request: Request,
    limits: Limits,
    seen: Rows,
) -> Rows:
    """A first design; where a value is shared, on the middle one of the largest plates.

    Args:
        state: the campaign.
        features: N x d, over which the design spreads.
        rows: positions that may be chosen.
        count: how many.
        request: what the batch shares.
        limits: what it must not exceed.
        seen: positions that were run or are pending.

    Raises:
        UserError: no candidate is within the limits.
    """
    plates = _plates(state, rows, request, limits)
    largest = [plate for plate in plates if len(plate) == max(map(len, plates))]
    plate = largest[len(largest) // 2]
    seed = np.random.SeedSequence([state.created.seed, state.sequence]).generate_state(1)[0]
    options = [
        _codes(state, str(column))
        for column in state.table
        if 1 < state.table[column].nunique() <= STEPS
    ]
    return np.array(representative(features, plate, count, int(seed), seen, limits, options))


def features_of_first_design(state: State) -> NDArray[np.float64] | None:
    """One-hot features in which numbers of a few steps are options like others; N x d.

    None where a column of text differs in most rows, as in a list of molecules: then only a model
    of the text knows which experiments are alike.
    """
    pool = state.pool
    table = pool.table.copy()
    for column in table.select_dtypes("number"):
        if table[column].nunique() <= STEPS:
            table[column] = [cell_text(cell) for cell in table[column]]
    options = table.select_dtypes(exclude="number").nunique()
    if (2 * options > len(table)).any() or options.sum() > MOST_OPTIONS:
        return None
    return one_hot(replace(pool, table=table))


def aim_of(state: State, fitted: Fitted) -> Aim:
    """What candidates are scored for."""
    goal = state.created.goal
    return Aim.of(fitted, CRITERION, goal.target if goal.kind == "target" else None)
