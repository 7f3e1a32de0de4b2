"""From what is known to the next experiments: a pure function of a state and a request."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from gollum import __version__
from gollum.acquisition.batch import Selection
from gollum.campaign.calibration import INTERVAL, widening
from gollum.campaign.choosing import (
    aim_of,
    best_batch,
    features_of_first_design,
    first_batch,
    free_candidates,
    limits_of,
    with_same,
)
from gollum.campaign.events import Request, Suggested, Suggestion
from gollum.campaign.explain import intent, main_effects, neighbours
from gollum.campaign.requests import Hooks
from gollum.campaign.state import State
from gollum.errors import FitError
from gollum.runtime import Runtime, commit
from gollum.surrogates.base import Fitted, Surrogate, untrained
from gollum.surrogates.build import Problem, build_surrogate
from gollum.surrogates.presets import PRESETS, Settings, variant

FEWEST = 2  # different experiments with results, before a model is asked


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
    taken = pool.positions(held)
    rows = with_same(state, free_candidates(state, fresh), taken, request)
    limits = limits_of(state, request, taken)
    batch = state.batch if extends else state.batch + 1
    fit: dict[str, float] = {}
    if is_ready(state):
        hooks.stage("Reading the experiments")
        surrogate = prepare(state, hooks=hooks)
        hooks.stage("Fitting the model")
        fitted = learn(surrogate, state)
        hooks.stage("Choosing experiments")
        chosen = best_batch(state, fitted, rows, count, request, limits, pending)
        hooks.stage("Checking the intervals")
        wider = interval_factor(state, surrogate, hooks)
        fit = {**_figures(fitted), "widening": wider}
        suggestions = _explained(state, fitted, chosen, wider)
        revision = surrogate.featurizer.revision
    else:
        hooks.stage("Choosing first experiments")
        features, revision = features_of_first_design(state), ""
        if features is None:
            surrogate = prepare(state, hooks=hooks)
            features = untrained(surrogate, state.created.seed)
            revision = surrogate.featurizer.revision
        seen = np.union1d(pool.positions(state.done()), pending)
        first = first_batch(state, features, rows, count, request, limits, seen)
        suggestions = [Suggestion(run="", id=str(i)) for i in pool.ids[first]]
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
        revision=revision,
        provenance={"gollum": __version__, "commit": commit(), **Runtime.resolve().describe()},
        seconds=round(time.perf_counter() - began, 3),
    )


def interval_factor(state: State, surrogate: Surrogate, hooks: Hooks) -> float:
    """As `widening`; 1 where a fit to part of the results fails."""
    try:
        return widening(surrogate, state, hooks.reading or (lambda done, total: None))
    except FitError as error:
        hooks.noted((f"The intervals could not be checked: {error}",))
        return 1.0


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
