"""What a request of a campaign's user means for its candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.design import codes_of
from gollum.acquisition.limits import Limits, Rows
from gollum.acquisition.strategy import BatchRequest, Observed
from gollum.campaign.events import Request
from gollum.campaign.state import State
from gollum.data.pool import cell_text
from gollum.errors import DataError, UserError


def batch_request(
    state: State,
    count: int,
    request: Request,
    *,
    fresh: bool,
    pending: Rows,
    taken: Rows,
    outcomes: tuple[Observed, ...],
    apart: bool = False,
    screened: bool = True,
) -> BatchRequest:
    """What a strategy is asked for.

    Args:
        state: the campaign.
        count: how many experiments.
        request: what its user asked for.
        fresh: whether pending experiments are withdrawn, and may be chosen again.
        pending: positions whose results are not there yet.
        taken: positions that the batch holds already.
        outcomes: with their results, the objective first.
        apart: as `BatchRequest` takes it.
        screened: likewise.

    Raises:
        DataError: no candidate is left.
        UserError: none shares its values with the batch so far.
    """
    goal, pool, scale = state.goal, state.pool, outcomes[0].scale
    groups = [(codes_of(pool, column), most) for column, most in request.at_most.items()]
    rows, again = _free(state, fresh), _measured(state) if request.repeats else taken[:0]
    if len(again):
        # What a measured one can still improve is what noise leaves open.
        once = np.ones(len(pool), dtype=np.int64)
        once[again] = 0
        groups.append((once * (np.arange(len(pool)) + 1), request.repeats))
        rows = np.union1d(rows, again)
    limits = Limits(tuple(groups), tuple(taken.tolist()))
    if request.apart > 1:
        limits = replace(limits, columns=told_apart(state), apart=request.apart)
    return BatchRequest(
        count=count,
        rows=_with_same(state, rows, taken, request),
        pending=pending,
        done=np.unique(pool.positions(state.done())),
        limits=limits,
        shared=tuple(codes_of(pool, column) for column in request.same),
        penalties=_penalties(state, request),
        target=(
            float(scale.utility(np.array([goal.target]))[0]) if goal.kind == "target" else None
        ),
        ties=(state.created.seed, state.learned, state.sequence),
        outcomes=outcomes if len(outcomes) > 1 else (),
        extents=outcomes[0].extents,
        apart=apart,
        screened=screened,
    )


def told_apart(state: State) -> tuple[Rows, ...]:
    """For each input which level each of N candidates has; columns that rename others left out."""
    found: dict[bytes, Rows] = {}
    for column in state.table.columns:
        codes = pd.factorize(state.table[column], use_na_sentinel=False)[0].astype(np.int64)
        if codes.any():
            found.setdefault(codes.tobytes(), codes)
    return tuple(found.values())


def _measured(state: State) -> Rows:
    """Positions of measured candidates that are not pending or avoided."""
    busy = [plan.suggestion.id for plan in state.pending()]
    known = state.table.index.isin([m.result.id for m in state.with_status("measured")])
    return np.flatnonzero(known & ~state.table.index.isin(busy) & ~state.locked())


def _free(state: State, fresh: bool) -> Rows:
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
            + "; add some with `gollum add`, or lift what is avoided."
        )
    return np.flatnonzero(flags)


def _with_same(state: State, rows: Rows, taken: Rows, request: Request) -> Rows:
    """Only what shares its values with the batch so far.

    Raises:
        UserError: nothing does.
    """
    for column in request.same if len(taken) else ():
        codes = codes_of(state.pool, column)
        rows = rows[codes[rows] == codes[taken[0]]]
        if len(rows) == 0:
            value = cell_text(state.table[column].iloc[taken[0]])
            raise UserError(
                f"no further candidate has {column} = {value}, as the batch so far does."
            )
    return rows


def _penalties(state: State, request: Request) -> NDArray[np.float64] | None:
    """Weight · log(cost) of every candidate: EI / cost^w (Snoek, Larochelle and Adams 2012)."""
    if not request.cost_weight or state.costs is None:
        return None
    costs = np.where(np.isnan(state.costs), np.nanmedian(state.costs), state.costs)
    return np.asarray(request.cost_weight * np.log(costs))
