"""What a model has learned from the results, whether it helps, and what is left to gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from gollum.acquisition.model_based import Modelled, alongside, models_of, unaided
from gollum.acquisition.scoring import widened
from gollum.acquisition.strategy import Observed
from gollum.analysis.metrics import INTERVAL
from gollum.campaign.advice import Advice, advice
from gollum.campaign.explain import main_effects
from gollum.campaign.forecast import map_of
from gollum.campaign.planning import (
    has_enough,
    inflation_of,
    observed,
    strategy_of,
    stream_of,
    surrogate_of,
    weighed,
)
from gollum.campaign.state import State
from gollum.campaign.trust import RANDOM, Trust, own_name, trust
from gollum.data.outcomes import Outcome, Scale
from gollum.errors import UserError
from gollum.listener import SILENT, Listener
from gollum.notes import Note
from gollum.surrogates.base import Fitted, Surrogate

BASELINES = ("one_hot", "morgan")  # what a language model has to beat
WORDED, WORDLESS = "combined", "wordless"
SLIGHTLY = 1.05  # widening that is worth a word


@dataclass(frozen=True, eq=False)
class Learned:
    """What a model makes of the results for one outcome.

    Attributes:
        outcome: what is predicted.
        scale: on which it is learned.
        trust: how it predicts experiments that it has not seen.
        effects: column, value, effect (on the prediction, outcome's unit), measured.
        weights: how much each column and representation tells experiments apart, together 1, with
            the interval of what is averaged over.
        widening: factor on the model's deviations in suggestions, at least 1.
        chart: mean predictions for the values of the two columns that matter most (`map_of`).
    """

    outcome: Outcome
    scale: Scale
    trust: Trust
    effects: pd.DataFrame
    weights: dict[str, tuple[float, float, float]]
    widening: float = 1.0
    chart: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def left_out(self) -> pd.DataFrame:
        """Predictions of left-out results by the first model, as wide as those of suggestions are.

        Returns:
            Columns of `Trust.predictions`, low and high (95 % interval, inside the bounds), and
            reach (half its width without bounds); empty without a model.
        """
        models = [m for m in self.trust.errors["method"] if m != RANDOM]
        rows = self.trust.predictions[self.trust.predictions["method"] == next(iter(models), None)]
        spread = float(rows["observed"].std()) if len(rows) > 1 else 1.0
        share = (rows["deviation"].to_numpy(dtype=np.float64) / (spread or 1.0)) ** 2
        wide = spread * widened(torch.from_numpy(share), self.widening).sqrt().numpy()
        mean = rows["mean"].to_numpy(dtype=np.float64)
        reach = INTERVAL * wide
        low, high = (self.scale.inside(end) for end in (mean - reach, mean + reach))
        return rows.assign(low=low, high=high, reach=reach)


@dataclass(frozen=True, eq=False)
class Insights:
    """What a model makes of the results.

    Attributes:
        learned: of each outcome that is predicted, the objective first.
        advice: whether to go on.
        hyperparameters: of the objective's fit.
        notes: what a user should know, one sentence each.
    """

    learned: tuple[Learned, ...]
    advice: Advice
    hyperparameters: dict[str, float]
    notes: tuple[str, ...]

    @property
    def trust(self) -> Trust:
        """How the objective is predicted where it was not seen."""
        return self.learned[0].trust


def insights(state: State, listener: Listener = SILENT) -> Insights | None:
    """Fit the campaign's surrogate and baselines.

    Returns:
        None before there are enough results, and where the campaign's strategy has no model.

    Raises:
        FitError: the campaign's own surrogate could not be fitted.
    """
    if not has_enough(state) or state.policy.factory is None:
        return None
    strategy = strategy_of(state, listener=listener)
    own = strategy.surrogate
    assert own is not None  # noqa: S101 (its policy has a factory)
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
    outcomes = observed(state, strategy)
    first = outcomes[0]
    fitted, others, untold = models_of(own, outcomes, stream_of(state))
    notes += untold
    modelled = Modelled(outcomes, fitted, others) if others else None
    learned = list[Learned]()
    for one in outcomes:
        model = fitted if one is first else others.get(one.outcome.name)
        if model is not None and one.known is None:
            made = surrogates.values() if one is first else map(unaided, surrogates.values())
            asked = [alongside(surrogate, one, outcomes) for surrogate in made]
            named = dict(zip(surrogates, asked, strict=True))
            learned.append(_learned(state, named, one, model, listener))
    for found in learned:
        several = len(learned) > 1
        of = f" for {found.outcome.name}" * several
        if found.widening >= SLIGHTLY:
            what = (
                "Intervals of suggestions, of left-out experiments in the picture and of what is "
                f"left to gain are up to {found.widening:.2g} times as wide as the model's own{of}"
                ", which are too narrow for results that it has not seen. The table shows its own."
            )
            notes.append(Note("wider-intervals", "", what))
        told = found.trust.notes
        notes += [note.within(found.outcome.name) for note in told] if several else told
    wider = {found.outcome.name: found.widening for found in learned}
    return Insights(
        learned=tuple(learned),
        advice=advice(state, fitted, wider, first.scale, modelled),
        hyperparameters=fitted.report.hyperparameters or {},
        notes=(*notes, *fitted.report.notes),
    )


def _learned(
    state: State,
    surrogates: Mapping[str, Surrogate],
    one: Observed,
    fitted: Fitted,
    listener: Listener,
) -> Learned:
    """What the first of some surrogates makes of one outcome, beside the others."""
    outcome, scale = one.outcome, one.scale
    mean, _ = fitted.marginals(np.arange(len(fitted.pool)))
    predicted = scale.values(mean.cpu().numpy())
    effects = main_effects(state, predicted, outcome)
    listener.stage("Leaving experiments out")
    judged = trust(state, surrogates, listener.advanced, scale, outcome)
    listener.stage("Checking the intervals")
    inflation = inflation_of(state, next(iter(surrogates.values())), listener, one)
    chart = map_of(state, predicted, effects.table)
    return Learned(outcome, scale, judged, effects.table, weighed(fitted), inflation, chart)
