"""From what is known to the next experiments: a pure function of a state and a request."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from gollum import __version__
from gollum.acquisition.model_based import alongside, make_strategy, unaided
from gollum.acquisition.policy import Policy
from gollum.acquisition.strategy import Observed, Strategy, ask, is_ready
from gollum.campaign.between import Between
from gollum.campaign.calibration import variance_inflation
from gollum.campaign.choosing import batch_request
from gollum.campaign.events import Cells, Request, Suggested, Suggestion
from gollum.campaign.explain import Explained
from gollum.campaign.learning import learns, source_task
from gollum.campaign.state import State
from gollum.errors import ConfigError, FitError, UserError, listed
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.listener import SILENT, Listener
from gollum.runtime import Runtime, commit
from gollum.surrogates.base import Fitted, Surrogate
from gollum.surrogates.scales import best_scale
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
    policy = policy or state.policy
    return make_strategy(setup_of(problem_of(state, policy), policy, listener), policy)


def setup_of(problem: Problem, policy: Policy, listener: Listener = SILENT) -> Setup:
    """What the surrogates of a campaign are made from."""
    return Setup(problem, policy, _runtime(policy), listener, keep=True)


def problem_of(state: State, policy: Policy) -> Problem:
    """The candidates of a campaign in the forms that a policy reads."""
    template, pool = state.words(), state.pool
    texts = tuple(template.texts(pool))
    written = state.created.reaction
    reaction = None if written is None else Template(written)
    problem = Problem(pool, texts, template, state.created.structures, reaction=reaction)
    if reaction is not None:
        problem = replace(problem, reactions=problem.reactions_of(pool.table))
    if learns(policy):
        sources = tuple(source_task(state, learned) for learned in state.sources.values())
        problem = replace(problem, sources=sources)
    return problem


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


def stream_of(state: State) -> tuple[int, int]:
    """Numbers that name the random stream of what is learned now."""
    return state.created.seed, state.learned


def observed(state: State, strategy: Strategy) -> tuple[Observed, ...]:
    """All outcomes with their results and the scale that each is learned on, the objective first.

    Raises:
        FitError: a fit failed by which a scale is chosen.
    """
    found = []
    for number, outcome in enumerate(state.outcomes):
        ids, values = state.observations(outcome)
        scale, chosen = state.scale(outcome), bool(number) or not state.sources
        known, ready = state.known(outcome), is_ready(ids, values)
        may = chosen and known is None and ready
        if outcome.transform == "auto" and may and strategy.surrogate is not None:
            stream = (*stream_of(state), *([number] if number else []))
            scale = best_scale(
                strategy.surrogate, outcome, ids, values, stream, state.extents(outcome)
            )
        extents = state.extents(outcome, scale)
        found.append(Observed(outcome, ids, values, scale, known, extents))
    return tuple(found)


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
    limited: bool = True,
    together: bool = True,
    screened: bool = True,
    listener: Listener = SILENT,
) -> Suggested:
    """Choose experiments; the same state and arguments give the same ones on the same machine.

    Args:
        state: what is known.
        asked: how many the batch is to have; fewer when candidates or limits end before.
        request: what to respect.
        fresh: whether pending experiments are withdrawn, and may be chosen again.
        extends: whether the last batch is continued.
        limited: whether no interval is widened beyond that of guessing the mean.
        together: whether several outcomes are learned by one language model, and experiments move
            between the candidates for all of them.
        screened: whether very many candidates are first screened by a cheaper model.
        listener: told what it is at.

    Raises:
        DataError: no candidate is left.
        UserError: the request can't be met, or the surrogate can't learn from the sources.
    """
    began, request, pool = time.perf_counter(), request or Request(), state.pool
    if state.sources and not learns(state.policy):
        raise ConfigError(
            f"surrogate '{state.policy.surrogate}' can't learn from {listed([*state.sources])}; "
            "take --surrogate combined, wordless or averaged, or let them go by gollum learn … "
            "--forget."
        )
    if state.sources and (said := state.outcomes[0].transform) not in ("identity", "auto"):
        told = f"'{state.outcomes[0].name}' is learned as it is, not by its {said}, as it is there"
        listener.noted((f"{told} in {listed([*state.sources])}.",))
    in_lab = [] if fresh else state.pending()
    pending = np.unique(pool.positions([plan.suggestion.id for plan in in_lab]))
    held = [p.suggestion.id for p in in_lab if p.batch == state.batch] if extends else []
    strategy = strategy_of(state, listener=listener)
    outcomes = observed(state, strategy)
    wanted = partial(
        batch_request, count=asked - len(held), request=request, fresh=fresh, pending=pending,
        taken=pool.positions(held), outcomes=outcomes, apart=not together,
        screened=screened,
    )  # fmt: skip
    asks = wanted(state)
    if state.drawn_from and (together or len(outcomes) == 1):
        asks = replace(asks, space=Between(state, wanted, request.same))
    first = outcomes[0]
    chosen = ask(strategy, pool, first.ids, first.utility, asks, stream_of(state))
    listener.noted(chosen.notes)
    joined = None if chosen.joined is None else Cells.of(chosen.joined)
    after = state if joined is None else state.joined(joined)
    batch = state.batch if extends else state.batch + 1
    fit, told = dict[str, float](), ""
    kind: Literal["start", "chosen"] = "start" if state.policy.factory is not None else "chosen"
    suggestions = [Suggestion(run="", id=candidate, intent=kind) for candidate in chosen.ids]
    if chosen.fitted is not None and strategy.surrogate is not None:
        listener.stage("Checking the intervals")
        wider = widenings(state, strategy.surrogate, outcomes, chosen.others, listener, together)
        fit = {**_figures(chosen.fitted), "widening": wider[first.outcome.name]}
        explained = Explained(
            after.without_pending() if fresh else after, chosen, outcomes, wider, limited
        )
        suggestions, told = explained.suggestions(), explained.advice().sentence
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
        scales={
            one.outcome.name: one.scale.transform
            for one in outcomes
            if fit and one.outcome.transform == "auto"
        },
        weights={} if chosen.fitted is None else weighed(chosen.fitted),
        trust={} if chosen.fitted is None else chosen.fitted.trust_in_sources(),
        limited=limited,
        together=together,
        screened=screened,
        advice=told,
        revision=chosen.revision,
        provenance={"gollum": __version__, "commit": commit(), **_runtime(state.policy).describe()},
        seconds=round(time.perf_counter() - began, 3),
        joined=joined,
    )


def weighed(fitted: Fitted) -> dict[str, tuple[float, float, float]]:
    """Weight of each slot with its interval, which is a point where nothing is averaged over."""
    ends = fitted.weight_intervals()
    return {name: (w, *ends.get(name, (w, w))) for name, w in fitted.weights().items()}


def inflation_of(
    state: State, surrogate: Surrogate, listener: Listener = SILENT, one: Observed | None = None
) -> float:
    """As `variance_inflation`; 1 where a fit to part of the results fails."""
    if one is not None and one.known is not None:
        return 1.0
    if one is not None and one.outcome.name != state.objective.name:
        surrogate = unaided(surrogate)
    what = (None, None) if one is None else (one.scale, one.outcome)
    try:
        return variance_inflation(surrogate, state, listener.advanced, *what)
    except FitError as error:
        listener.noted((f"The intervals could not be checked: {error}",))
        return 1.0


def widenings(
    state: State,
    surrogate: Surrogate,
    outcomes: Sequence[Observed],
    others: Collection[str],
    listener: Listener = SILENT,
    together: bool = True,
) -> dict[str, float]:
    """Name of each outcome that is predicted → factor on its model's deviations.

    Args:
        state: the campaign.
        surrogate: what is fitted.
        outcomes: the objective first.
        others: names of further ones that have a model.
        listener: told how far it is.
        together: whether outcomes are learned together where they can be.
    """
    learned = outcomes if together else ()
    return {
        one.outcome.name: inflation_of(state, alongside(surrogate, one, learned), listener, one)
        for one in outcomes
        if one is outcomes[0] or one.outcome.name in others
    }


def _figures(fitted: Fitted) -> dict[str, float]:
    report = fitted.report
    return {
        **(report.hyperparameters or {}),
        **({"loss": report.loss} if np.isfinite(report.loss) else {}),
        "results": float(len(fitted.utility)),
        "location": fitted.location.item(),
        "scale": fitted.scale.item(),
    }
