"""From what is known to the next experiments: a pure function of a state and a request."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gollum import __version__
from gollum.acquisition.batch import Selection, batch_improvement, select
from gollum.acquisition.criteria import Aim, score
from gollum.acquisition.design import representative
from gollum.acquisition.limits import Limits
from gollum.campaign.calibration import widening
from gollum.campaign.events import Request, Suggested, Suggestion
from gollum.campaign.explain import intent, main_effects, neighbours
from gollum.campaign.requests import Hooks
from gollum.campaign.state import State, cell_text
from gollum.errors import DataError, FitError, UserError
from gollum.runtime import Runtime, commit
from gollum.surrogates.base import Fitted, Surrogate, untrained
from gollum.surrogates.build import Problem, build_surrogate
from gollum.surrogates.presets import PRESETS, Settings, variant

CRITERION = "q_log_ei"
FEWEST = 2  # different experiments with results, before a model is asked
STEPS = 12  # of a number, up to which a first design takes each for an option
MOST_OPTIONS = 1000  # of all columns, for a one-hot first design
SHARED = 12  # values of a shared column that a whole batch is built for
INTERVAL = 1.959963984540054  # deviations that hold 95 % of a normal distribution

Rows = NDArray[np.int64]


def prepare(state: State, surrogate: str | None = None, hooks: Hooks | None = None) -> Surrogate:
    """The surrogate of a campaign over its candidates, not fitted yet.

    Args:
        state: the campaign.
        surrogate: name of another one than the campaign's.
        hooks: what to call meanwhile.

    Raises:
        DataError: its features can't be made from these columns.
        ModelError: its language model can't be loaded.
    """
    hooks = hooks or Hooks()
    created, template = state.created, state.words()
    parts = variant(surrogate or created.surrogate)
    numbers: dict[str, Any] = {
        k: v for k, v in PRESETS[created.preset].items() if k != "acquisition"
    }
    settings = Settings.model_validate({**numbers, "model": {"name": parts.model or created.model}})
    pool = state.pool
    texts = tuple(text.text for text in template.render_pool(pool))
    problem = Problem(pool, texts, template, created.structures)
    return build_surrogate(
        problem, parts, settings, Runtime.resolve(), hooks.reading, hooks.noted, keep=True
    )


def learn(surrogate: Surrogate, state: State) -> Fitted:
    """Fit to the results so far; the same results give the same fit.

    Raises:
        FitError: it failed, also after retries.
    """
    ids, values = state.observations()
    return surrogate.fit(ids, state.sign() * values, (state.created.seed, state.learned))


def is_ready(state: State) -> bool:
    """Whether there are enough results for a model: of two experiments, and not all the same."""
    ids, values = state.observations()
    return len(set(ids)) >= FEWEST and len(set(values.tolist())) > 1


def propose(
    state: State,
    asked: int,
    *,
    request: Request | None = None,
    fresh: bool = False,
    extends: bool = False,
    hooks: Hooks | None = None,
) -> Suggested:
    """Choose experiments; the same state and arguments give the same ones on the same machine.

    Args:
        state: what is known.
        asked: how many the batch is to have; fewer when candidates or limits end before.
        request: what to respect.
        fresh: whether pending experiments are withdrawn, and may be chosen again.
        extends: whether the last batch is continued.
        hooks: what to call meanwhile.

    Raises:
        DataError: no candidate is left.
        UserError: the request can't be met.
    """
    began, hooks, request = time.perf_counter(), hooks or Hooks(), request or Request()
    pool = state.pool
    in_lab = [] if fresh else state.pending()
    pending = np.unique(pool.positions([plan.suggestion.id for plan in in_lab]))
    held = [p.suggestion.id for p in in_lab if p.batch == state.batch] if extends else []
    count = asked - len(held)
    free = _free(state, fresh)
    taken = pool.positions(held)
    rows = _with_same(state, free, taken, request)
    limits = _limits(state, request, taken)
    batch = state.batch if extends else state.batch + 1
    fit: dict[str, float] = {}
    if is_ready(state):
        hooks.stage("Reading the experiments")
        surrogate = prepare(state, hooks=hooks)
        hooks.stage("Fitting the model")
        fitted = learn(surrogate, state)
        hooks.stage("Choosing experiments")
        chosen = _best(state, fitted, rows, count, request, limits, pending)
        hooks.stage("Checking the intervals")
        wider = interval_factor(state, surrogate, hooks)
        fit = {**_figures(fitted), "widening": wider}
        suggestions = _explained(state, fitted, chosen, wider)
    else:
        hooks.stage("Choosing first experiments")
        stepwise = _in_steps(state)
        surrogate = prepare(stepwise, _of_first_design(stepwise), hooks)
        seen = np.union1d(pool.positions(state.done()), pending)
        features = untrained(surrogate, state.created.seed)
        chosen_rows = _spread_out(stepwise, features, rows, count, request, limits, seen)
        suggestions = [Suggestion(run="", id=str(pool.ids[row])) for row in chosen_rows]
    named = tuple(
        s.model_copy(update={"run": f"b{batch}-{len(held) + i}"})
        for i, s in enumerate(suggestions, start=1)
    )
    return Suggested(
        batch=batch,
        basis=state.sequence,
        fresh=fresh,
        request=request,
        asked=asked,
        suggestions=named,
        surrogate=state.created.surrogate if fit else None,
        fit=fit,
        revision=surrogate.featurizer.revision,
        provenance={"gollum": __version__, "commit": commit(), **surrogate.runtime.describe()},
        seconds=round(time.perf_counter() - began, 3),
    )


def interval_factor(state: State, surrogate: Surrogate, hooks: Hooks) -> float:
    """As `widening`; 1 where a fit to part of the results fails."""
    try:
        return widening(surrogate, state, hooks.reading or (lambda done, total: None))
    except FitError as error:
        hooks.noted((f"The intervals could not be checked: {error}",))
        return 1.0


def _in_steps(state: State) -> State:
    """The campaign with numbers of a few steps as names, so that a design tries every step."""
    table = state.table.copy()
    for column in table.select_dtypes("number"):
        if table[column].nunique() <= STEPS:
            table[column] = [cell_text(cell) for cell in table[column]]
    return replace(state, table=table)


def _of_first_design(state: State) -> str:
    """The surrogate over whose features a first design spreads.

    One-hot where experiments share cells, so that every option gets its turn; the campaign's own
    where a column of text differs in most rows, as in a list of molecules.
    """
    options = state.table.select_dtypes(exclude="number").nunique()
    few = (2 * options <= len(state.table)).all() and options.sum() <= MOST_OPTIONS
    return "one_hot" if few else state.created.surrogate


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
            + "; record new rows to add candidates, or lift what is avoided."
        )
    return np.flatnonzero(flags)


def _codes(state: State, column: str) -> Rows:
    return pd.factorize(state.table[column], use_na_sentinel=False)[0].astype(np.int64)


def _limits(state: State, request: Request, taken: Rows) -> Limits:
    groups = tuple((_codes(state, column), most) for column, most in request.at_most.items())
    return Limits(groups, tuple(taken.tolist()))


def _with_same(state: State, rows: Rows, taken: Rows, request: Request) -> Rows:
    """Only what shares its values with the batch so far."""
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


def _best(
    state: State,
    fitted: Fitted,
    rows: Rows,
    count: int,
    request: Request,
    limits: Limits,
    pending: Rows,
) -> Selection:
    """The best batch; with a shared column, the best of those that its values allow."""
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


def _spread_out(
    state: State,
    features: NDArray[np.float64],
    rows: Rows,
    count: int,
    request: Request,
    limits: Limits,
    seen: Rows,
) -> list[int]:
    """A first design; where a value is shared, on the middle one of the largest plates."""
    plates = _plates(state, rows, request, limits)
    largest = [plate for plate in plates if len(plate) == max(map(len, plates))]
    plate = largest[len(largest) // 2]
    seed = np.random.SeedSequence([state.created.seed, state.sequence]).generate_state(1)[0]
    options = [
        _codes(state, str(column))
        for column in state.table.select_dtypes(exclude="number")
        if 1 < state.table[column].nunique() <= STEPS
    ]
    return representative(features, plate, count, int(seed), seen, limits, options)


def aim_of(state: State, fitted: Fitted) -> Aim:
    """What candidates are scored for."""
    goal = state.created.goal
    return Aim.of(fitted, CRITERION, goal.target if goal.kind == "target" else None)


def _explained(
    state: State, fitted: Fitted, selection: Selection, wider: float
) -> list[Suggestion]:
    """Suggestions with calibrated predictions and their reasons."""
    sign, aim = state.sign(), aim_of(state, fitted)
    mean, variance = fitted.standardised_marginals(np.arange(len(fitted.pool)))
    predicted = sign * (fitted.location + fitted.scale * mean).cpu().numpy()
    effects = main_effects(state, predicted)
    rows = fitted.pool.positions(selection.ids)
    at = torch.as_tensor(rows, device=mean.device)
    best = aim.best(fitted)
    chances = aim.chance(mean[at], wider**2 * variance[at], best).tolist()
    intents = intent(aim.merit(mean[at]).tolist(), variance[at].sqrt().tolist(), best.item())
    noise = fitted.process.gp.noise.item()
    reach = (wider * INTERVAL * fitted.scale * (variance[at] + noise).sqrt()).tolist()
    return [
        Suggestion(
            run="",
            id=str(fitted.pool.ids[row]),
            mean=float(predicted[row]),
            low=float(predicted[row] - reach[i]),
            high=float(predicted[row] + reach[i]),
            chance=min(1.0, max(0.0, chances[i])),
            acquisition=selection.scores[i],
            intent=intents[i],
            neighbours=neighbours(state, fitted, int(row)),
            effects=effects.effects(int(row)),
        )
        for i, row in enumerate(rows)
    ]


def _figures(fitted: Fitted) -> dict[str, float]:
    report = fitted.report
    return {
        **report.hyperparameters,
        "loss": report.loss,
        "results": float(len(fitted.utility)),
        "location": fitted.location.item(),
        "scale": fitted.scale.item(),
    }
