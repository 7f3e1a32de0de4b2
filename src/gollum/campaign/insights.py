"""What a model has learned from the results, whether it helps, and what is left to gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gollum.campaign.advice import Advice, advice
from gollum.campaign.explain import main_effects
from gollum.campaign.planning import interval_factor, is_ready, learn, prepare
from gollum.campaign.requests import Hooks
from gollum.campaign.state import State
from gollum.campaign.trust import Trust, trust
from gollum.errors import UserError
from gollum.notes import Note

RIVALS = ("one_hot", "morgan")  # what a language model has to beat


@dataclass(frozen=True, eq=False)
class Insights:
    """What a model makes of the results.

    Attributes:
        trust: how it predicts experiments that it has not seen.
        advice: whether to go on.
        effects: column, value, effect (on the prediction, objective's unit), measured.
        hyperparameters: of the fit.
        notes: what a user should know, one sentence each.
    """

    trust: Trust
    advice: Advice
    effects: pd.DataFrame
    hyperparameters: dict[str, float]
    notes: tuple[str, ...]


def insights(state: State, hooks: Hooks | None = None) -> Insights | None:
    """Fit the campaign's surrogate and its rivals; None before there are enough results.

    Raises:
        FitError: the campaign's own surrogate could not be fitted.
    """
    if not is_ready(state):
        return None
    hooks = hooks or Hooks()
    hooks.stage("Reading the experiments")
    own = prepare(state, hooks=hooks)
    surrogates, notes = {state.created.surrogate: own}, list[Note]()
    for rival in RIVALS:
        if rival in surrogates or (rival == "morgan" and not state.created.structures):
            continue
        try:
            surrogates[rival] = prepare(state, rival)
        except UserError as error:
            notes.append(Note("no-comparison", "", f"No comparison with {rival}: {error}"))
    hooks.stage("Fitting the model")
    fitted = learn(own, state)
    mean, _ = fitted.marginals(np.arange(len(fitted.pool)))
    effects = main_effects(state, state.sign() * mean.cpu().numpy()).table
    hooks.stage("Leaving experiments out")
    judged = trust(state, surrogates, hooks.reading)
    hooks.stage("Checking the intervals")
    wider = interval_factor(state, own, hooks)
    if wider > 1:
        what = (
            f"Intervals of suggestions, and of what is left to gain, are {wider:.2g} times as wide "
            "as the model's own, which are too narrow for results that it has not seen."
        )
        notes.append(Note("wider-intervals", "", what))
    return Insights(
        trust=judged,
        advice=advice(state, fitted, wider),
        effects=effects,
        hyperparameters=fitted.report.hyperparameters,
        notes=(*notes, *judged.notes, *fitted.report.notes),
    )
