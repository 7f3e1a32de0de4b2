"""From what is known to the next experiments: a pure function of a state and a request."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from gollum import __version__
from gollum.acquisition.model_based import make_strategy
from gollum.acquisition.policy import Policy
from gollum.acquisition.scoring import Aim
from gollum.acquisition.strategy import Selection, Strategy, ask, is_ready
from gollum.campaign.between import Between, cells_of
from gollum.campaign.calibration import INTERVAL, variance_inflation
from gollum.campaign.choosing import batch_request
from gollum.campaign.events import Request, Suggested, Suggestion
from gollum.campaign.explain import intent, main_effects, neighbours
from gollum.campaign.learning import learns, source_task
from gollum.campaign.state import State
from gollum.errors import ConfigError, FitError, UserError, listed
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.listener import SILENT, Listener
from gollum.runtime import Runtime, commit
from gollum.surrogates.base import Fitted, Surrogate
from gollum.text.template import Template


def strategy_of(
    state: State, policy: Policy | None = None, listener: Listener = SILENT
) -> Strategy:
    """What chooses for a campaign; nothing is read or fitted yet.

    Args:
        state: the campaign.
        policy: another one than the campaign's.
        listener: told what takes long.

    Raises:
        ConfigError: a surrogate, kernel or acquisition is not known here.
    """
    policy, template, pool = policy or state.policy, state.words(), state.pool
    texts = tuple(template.texts(pool))
    written = state.created.reaction
    reaction = None if written is None else Template(written)
    problem = Problem(pool, texts, template, state.created.structures, reaction=reaction)
    if reaction is not None:
        problem = replace(problem, reactions=problem.reactions_of(pool.table))
    if learns(policy):
        sources = tuple(source_task(state, learned) for learned in state.sources.values())
        problem = replace(problem, sources=sources)
    setup = Setup(problem, policy, _runtime(policy), listener, keep=True)
    return make_strategy(setup, policy)


def _runtime(policy: Policy) -> Runtime:
    return Runtime.resolve("auto", policy.model.precision)


def surrogate_of(
    state: State, policy: Policy | None = None, listener: Listener = SILENT
) -> Surrogate:
    """The surrogate of a campaign over its candidates, not fitted yet.

    Raises:
        UserError: its features can't be made from these columns, its language model can't be
            loaded, or the campaign's strategy has none.
    """
    surrogate = strategy_of(state, policy, listener).surrogate
    if surrogate is None:
        raise UserError(f"strategy '{state.policy.surrogate}' has no model that could be asked.")
    return surrogate


def learn(surrogate: Surrogate, state: State) -> Fitted:
    """Fit to the results so far; the same results give the same fit.

    Raises:
        FitError: it failed, also after retries.
    """
    ids, values = state.observations()
    return surrogate.fit(ids, state.sign() * values, (state.created.seed, state.learned))


def has_enough(state: State) -> bool:
    """Whether there are enough results for a model."""
    return is_ready(*state.observations())


def propose(
    state: State,
    asked: int,
    *,
    request: Request | None = None,
    fresh: bool = False,
    extends: bool = False,
    listener: Listener = SILENT,
) -> Suggested:
    """Choose experiments; the same state and arguments give the same ones on the same machine.

    Args:
        state: what is known.
        asked: how many the batch is to have; fewer when candidates or limits end before.
        request: what to respect.
        fresh: whether pending experiments are withdrawn, and may be chosen again.
        extends: whether the last batch is continued.
        listener: told what it is at.

    Raises:
        DataError: no candidate is left.
        UserError: the request can't be met, or the surrogate can't learn from the sources.
    """
    began, request = time.perf_counter(), request or Request()
    if state.sources and not learns(state.policy):
        raise ConfigError(
            f"surrogate '{state.policy.surrogate}' can't learn from {listed([*state.sources])}; "
            "take --surrogate combined, wordless or averaged, or let them go by gollum learn … "
            "--forget."
        )
    pool, (ids, values) = state.pool, state.observations()
    in_lab = [] if fresh else state.pending()
    pending = np.unique(pool.positions([plan.suggestion.id for plan in in_lab]))
    held = [p.suggestion.id for p in in_lab if p.batch == state.batch] if extends else []
    wanted = partial(
        batch_request, count=asked - len(held), request=request,
        fresh=fresh, pending=pending, taken=pool.positions(held),
    )  # fmt: skip
    asks = wanted(state)
    if state.drawn_from:
        asks = replace(asks, space=Between(state, wanted, request.same))
    strategy = strategy_of(state, listener=listener)
    stream = (state.created.seed, state.learned)
    chosen = ask(strategy, pool, ids, state.sign() * values, asks, stream)
    listener.noted(chosen.notes)
    joined = None if chosen.joined is None else cells_of(chosen.joined)
    after = state if joined is None else state.joined(joined)
    batch = state.batch if extends else state.batch + 1
    fit: dict[str, float] = {}
    kind: Literal["start", "chosen"] = "start" if state.policy.factory is not None else "chosen"
    suggestions = [Suggestion(run="", id=candidate, intent=kind) for candidate in chosen.ids]
    if chosen.fitted is not None and strategy.surrogate is not None:
        listener.stage("Checking the intervals")
        inflation = inflation_of(state, strategy.surrogate, listener)
        fit = {**_figures(chosen.fitted), "widening": inflation}
        suggestions = _explained(after, chosen.fitted, chosen, inflation)
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
        surrogate=state.policy.surrogate if fit or kind == "chosen" else None,
        fit=fit,
        weights={} if chosen.fitted is None else weighed(chosen.fitted),
        trust={} if chosen.fitted is None else chosen.fitted.trust_in_sources(),
        revision=chosen.revision,
        provenance={"gollum": __version__, "commit": commit(), **_runtime(state.policy).describe()},
        seconds=round(time.perf_counter() - began, 3),
        joined=joined,
    )


def weighed(fitted: Fitted) -> dict[str, tuple[float, float, float]]:
    """Weight of each slot with its interval, which is a point where nothing is averaged over."""
    ends = fitted.weight_intervals()
    return {name: (w, *ends.get(name, (w, w))) for name, w in fitted.weights().items()}


def inflation_of(state: State, surrogate: Surrogate, listener: Listener = SILENT) -> float:
    """As `variance_inflation`; 1 where a fit to part of the results fails."""
    try:
        return variance_inflation(surrogate, state, listener.advanced)
    except FitError as error:
        listener.noted((f"The intervals could not be checked: {error}",))
        return 1.0


def _explained(
    state: State, fitted: Fitted, selection: Selection, inflation: float
) -> list[Suggestion]:
    """Suggestions with calibrated predictions and their reasons."""
    sign, goal = state.sign(), state.created.goal
    target = goal.target if goal.kind == "target" else None
    aim = Aim.of(fitted, state.policy.acquisition, target)
    mean, variance = fitted.standardised(np.arange(len(fitted.pool)))
    predicted = sign * (fitted.location + fitted.scale * mean).cpu().numpy()
    effects = main_effects(state, predicted)
    rows = fitted.pool.positions(selection.ids)
    at = torch.as_tensor(rows, device=mean.device)
    best = aim.best(fitted)
    chances = aim.chance(mean[at], inflation**2 * variance[at], best).tolist()
    inherited = fitted.inherited(rows)
    intents = intent(aim.merit(mean[at]).tolist(), variance[at].sqrt().tolist(), best.item())
    noise = fitted.noise
    reach = (inflation * INTERVAL * fitted.scale * (variance[at] + noise).sqrt()).tolist()
    return [
        Suggestion(
            run="",
            id=str(fitted.pool.ids[row]),
            mean=float(predicted[row]),
            low=float(predicted[row] - reach[i]),
            high=float(predicted[row] + reach[i]),
            chance=min(1.0, max(0.0, chances[i])) if len(fitted.rows) else None,
            acquisition=selection.scores[i],
            inherited=None if inherited is None else sign * inherited[i].item(),
            intent=intents[i],
            neighbours=neighbours(state, fitted, int(row)),
            effects=effects.effects(int(row)),
        )
        for i, row in enumerate(rows)
    ]


def _figures(fitted: Fitted) -> dict[str, float]:
    report = fitted.report
    return {
        **(report.hyperparameters or {}),
        **({"loss": report.loss} if np.isfinite(report.loss) else {}),
        "results": float(len(fitted.utility)),
        "location": fitted.location.item(),
        "scale": fitted.scale.item(),
    }
