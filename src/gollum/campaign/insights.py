"""What a model has learned from the results, whether it helps, and what is left to gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gollum.acquisition.model_based import Modelled, others_of
from gollum.campaign.advice import Advice, advice
from gollum.campaign.explain import main_effects
from gollum.campaign.planning import (
    has_enough,
    inflation_of,
    learn,
    observed,
    strategy_of,
    stream_of,
    surrogate_of,
    weighed,
)
from gollum.campaign.state import State
from gollum.campaign.trust import Trust, own_name, trust
from gollum.errors import UserError
from gollum.listener import SILENT, Listener
from gollum.notes import Note

BASELINES = ("one_hot", "morgan")  # what a language model has to beat
WORDED, WORDLESS = "combined", "wordless"


@dataclass(frozen=True, eq=False)
class Insights:
    """What a model makes of the results.

    Attributes:
        trust: how it predicts experiments that it has not seen.
        advice: whether to go on.
        effects: column, value, effect (on the prediction, objective's unit), measured.
        hyperparameters: of the fit.
        weights: how much each column and representation tells experiments apart, together 1, with
            the interval of what is averaged over.
        notes: what a user should know, one sentence each.
    """

    trust: Trust
    advice: Advice
    effects: pd.DataFrame
    hyperparameters: dict[str, float]
    weights: dict[str, tuple[float, float, float]]
    notes: tuple[str, ...]


def insights(state: State, listener: Listener = SILENT) -> Insights | None:
    """Fit the campaign's surrogate and baselines.

    Returns:
        None before there are enough results, and where the campaign's strategy has no model.

    Raises:
        FitError: the campaign's own surrogate could not be fitted.
    """
    if not has_enough(state) or state.policy.factory is None:
        return None
    own = surrogate_of(state, listener=listener)
    surrogates, notes = {own_name(state): own}, list[Note]()
    # What words add to all else that is weighed is seen without them.
    weighed_words = (WORDLESS,) if state.policy.surrogate == WORDED else ()
    for baseline in (*BASELINES, *weighed_words):
        policy = state.policy_with(surrogate=baseline)
        if baseline in surrogates or ("structures" in policy.needs and not state.structures):
            continue
        try:
            surrogates[baseline] = surrogate_of(state, policy)
        except UserError as error:
            notes.append(Note("no-comparison", "", f"No comparison with {baseline}: {error}"))
    listener.stage("Fitting the model")
    outcomes = observed(state, strategy_of(state))
    first, scale = outcomes[0], outcomes[0].scale
    fitted = learn(own, state, scale)
    others, untold = others_of(own, outcomes, stream_of(state))
    notes += untold
    modelled = Modelled(outcomes, fitted, others) if others else None
    mean, _ = fitted.marginals(np.arange(len(fitted.pool)))
    effects = main_effects(state, scale.values(mean.cpu().numpy())).table
    listener.stage("Leaving experiments out")
    judged = trust(state, surrogates, listener.advanced, scale)
    listener.stage("Checking the intervals")
    inflation = inflation_of(state, own, listener, first)
    if inflation > 1:
        what = (
            f"Intervals of suggestions, and of what is left to gain, are {inflation:.2g} times as "
            "wide as the model's own, which are too narrow for results that it has not seen."
        )
        notes.append(Note("wider-intervals", "", what))
    return Insights(
        trust=judged,
        advice=advice(state, fitted, inflation, scale, modelled),
        effects=effects,
        hyperparameters=fitted.report.hyperparameters or {},
        weights=weighed(fitted),
        notes=(*notes, *judged.notes, *fitted.report.notes),
    )
