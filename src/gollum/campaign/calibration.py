"""Predictions of results that a surrogate has not seen, and how far off its intervals are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gollum.analysis.cross_validation import folds
from gollum.campaign.state import State
from gollum.data.outcomes import Outcome, Scale

if TYPE_CHECKING:
    from gollum.surrogates.base import Surrogate

Vector = NDArray[np.float64]

FEWEST = 5  # distinct experiments before intervals are judged
MANY = 100  # results from which fits take long, so that there are half as many


def left_out(
    surrogate: Surrogate,
    state: State,
    part: NDArray[np.int64],
    tick: Callable[[], None],
    spread: float = 0.0,
    scale: Scale | None = None,
    outcome: Outcome | None = None,
) -> tuple[Vector, Vector]:
    """Predict every result by a fit to those of other parts.

    Args:
        surrogate: on the campaign's candidates.
        state: the campaign, with n results.
        part: which part each of them belongs to, from 0.
        tick: called after each fit.
        spread: standard deviation that the results left in are taken to have at least.
        scale: on which they are learned; by default the campaign's.
        outcome: what was measured; the objective by default.

    Returns:
        n means and n standard deviations of a measurement, of what the model learns.

    Raises:
        FitError: a fit failed.
    """
    from gollum.surrogates.base import fit_to  # brings PyTorch

    ids, values = state.observations(outcome)
    scale = scale or state.scale(outcome)
    utility, extents = scale.utility(values), state.extents(outcome, scale)
    names = np.array(ids, dtype=object)
    mean, variance = np.empty_like(values), np.empty_like(values)
    for number in range(int(part.max()) + 1):
        out = part == number
        if np.ptp(values[~out]) == 0:  # nothing to learn from
            mean[out], variance[out] = utility[~out].mean(), utility.var(ddof=1)
            tick()
            continue
        fitted = fit_to(
            surrogate, names[~out].tolist(), utility[~out], (state.created.seed, number),
            None if extents is None else extents.at(~out),
        )  # fmt: skip
        expected, uncertain = fitted.posterior(names[out].tolist())
        noise = fitted.noise * fitted.scale.square()
        mean[out] = expected.cpu().numpy()
        wide = max(1.0, spread / fitted.scale.item()) ** 2
        variance[out] = wide * (uncertain + noise).detach().cpu().numpy()
        tick()
    return mean, np.sqrt(variance)


def variance_inflation(
    surrogate: Surrogate,
    state: State,
    progress: Callable[[int, int], None],
    scale: Scale | None = None,
    outcome: Outcome | None = None,
) -> float:
    """Variance inflation: by what the surrogate's deviations are too small, at least 1.

    The root mean square of (result − mean) / deviation over results that were left out in ten
    parts, or five of many (Birge's ratio; Phys. Rev. 1932, 40, 207). A model that learns its
    features from a few results fits them too well, and its intervals forget that.

    Args:
        surrogate: on the campaign's candidates.
        state: the campaign.
        progress: called with (fits done, fits in all).
        scale: as `left_out` takes it.
        outcome: likewise.

    Raises:
        FitError: a fit failed.
    """
    ids, values = state.observations(outcome)
    if len(set(ids)) < FEWEST:
        return 1.0
    parts = 10 if len(ids) <= MANY else 5
    part = folds(ids, state.created.seed, exact=parts, parts=parts)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress(done, int(part.max()) + 1)

    # A part may hold the only results that are not small: those left in are then no measure.
    scale = scale or state.scale(outcome)
    utility = scale.utility(values)
    spread = float(utility.std(ddof=1))
    mean, deviation = left_out(surrogate, state, part, tick, spread, scale, outcome)
    return max(1.0, float(np.sqrt(np.mean(((utility - mean) / deviation) ** 2))))
