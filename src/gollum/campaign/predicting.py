"""What is predicted of every candidate, measured or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.acquisition.model_based import Modelled, others_of
from gollum.campaign.explain import interval
from gollum.campaign.planning import (
    has_enough,
    inflation_of,
    learn,
    observed,
    strategy_of,
    stream_of,
)
from gollum.campaign.state import State
from gollum.listener import SILENT, Listener


def predictions(state: State, listener: Listener = SILENT) -> pd.DataFrame | None:
    """Medians and 95 % intervals of measurements, as those of suggestions.

    Returns:
        N x 3m table by id, whose columns are pairs: the name of each of m outcomes with
        'predicted', 'low' and 'high', in its unit. None before there are enough results, and where
        the campaign's strategy has no model.

    Raises:
        FitError: a model could not be fitted.
    """
    if not has_enough(state) or state.policy.factory is None:
        return None
    strategy = strategy_of(state, listener=listener)
    surrogate = strategy.surrogate
    assert surrogate is not None  # noqa: S101 (its policy has a factory)
    listener.stage("Fitting the model")
    outcomes = observed(state, strategy)
    first = learn(surrogate, state, outcomes[0].scale)
    others, notes = others_of(surrogate, outcomes, stream_of(state))
    listener.noted(notes)
    rows, found = np.arange(len(first.pool)), dict[tuple[str, str], NDArray[np.float64]]()
    listener.stage("Checking the intervals")
    for one, fitted in ((outcomes[0], first), *Modelled(outcomes, first, others).further):
        wider = inflation_of(state, surrogate, listener, one)
        low, high = interval(one, fitted, rows, wider)
        mean = one.scale.values(fitted.marginals(rows)[0].cpu().numpy())
        found |= {(one.outcome.name, "predicted"): mean, (one.outcome.name, "low"): low}
        found[one.outcome.name, "high"] = high
    return pd.DataFrame(found, index=pd.Index(first.pool.ids, name="id"))
