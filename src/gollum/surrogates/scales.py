"""The scale on which an outcome is learned: the one that predicts left-out results best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gollum.data.extents import Extents
from gollum.data.outcomes import Outcome, Scale, Transform
from gollum.surrogates.base import Fitted, Surrogate, fit_to

FEWEST = 8  # distinct experiments before a scale is judged
CLEARLY = 2.0  # standard errors by which another scale has to predict better than none
DECADES = 10.0  # largest over smallest result, from which on a logarithm may be better

Vector = NDArray[np.float64]


def best_scale(
    surrogate: Surrogate,
    outcome: Outcome,
    ids: Sequence[str],
    values: Vector,
    seed: Sequence[int],
    extents: Extents | None = None,
) -> Scale:
    """The scale of an outcome; of 'auto', that with the largest predictive density.

    Each result is predicted from all others with the hyperparameters of a fit to all
    (`Fitted.left_out`), and scales are compared by the probability that they give the results to
    the accuracy of their digits. Another scale than the identity has to be better by `CLEARLY`
    standard errors of the mean difference.

    Args:
        surrogate: what is fitted, once for each scale.
        outcome: what was measured.
        ids: n measured experiments.
        values: their n results.
        seed: of the fits.
        extents: what is known of results that are no plain number.

    Raises:
        FitError: a fit failed.
    """
    plain = outcome.scale(values)
    if outcome.transform != "auto" or len(set(ids)) < FEWEST or np.ptp(values) == 0:
        return plain

    def density(scale: Scale) -> Vector:
        known = None if extents is None else extents.on(scale, values)
        return left_out_density(fit_to(surrogate, ids, scale.utility(values), seed, known), scale)

    best, known = plain, density(plain)
    for transform in _possible(outcome, values):
        other = outcome.scale(values, transform)
        found = density(other)
        gain = found - known
        if gain.mean() > CLEARLY * gain.std(ddof=1) / len(gain) ** 0.5:
            best, known = other, found
    return best


def left_out_density(fitted: Fitted, scale: Scale) -> Vector:
    """Log probability of each of n results, predicted from the others."""
    mean, variance = (part.cpu().numpy() for part in fitted.left_out())
    location, size = fitted.location.item(), fitted.scale.item()
    values = scale.values(fitted.utility.cpu().numpy())
    return scale.log_probability(values, location + size * mean, size * np.sqrt(variance))


def _possible(outcome: Outcome, values: Vector) -> Iterator[Transform]:
    """Scales besides the identity on which the results have a place."""
    if None not in outcome.scale(values, "identity").bounds:
        yield "logit"
    elif values.min() > 0 and values.max() >= DECADES * values.min():
        yield "log"
