"""Leave-one-out predictions from posterior marginals, and the scale that they choose."""

import numpy as np
import pytest
import torch

from gollum.data.outcomes import Outcome
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import one_hot
from gollum.settings import Settings
from gollum.surrogates.averaged import Averaged
from gollum.surrogates.base import without_itself
from gollum.surrogates.gaussian_process import GaussianProcess
from gollum.surrogates.known import Known
from gollum.surrogates.scales import best_scale, left_out_density
from helpers import CPU, make_pool

N, TRAIN = 40, 14


def surrogate(values=None, kind=GaussianProcess):
    i = np.arange(N)
    values = 50 + 9 * (i % 3) + 5 * np.sin(i / 4.0) if values is None else values
    pool = make_pool(N, values=values)
    return kind(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)


def test_against_processes_that_have_not_seen_the_result():
    made = surrogate()
    rng = np.random.default_rng(0)
    values = made.pool.utility[:TRAIN] + 4 * rng.normal(size=TRAIN)
    ids = [*made.pool.ids[: TRAIN - 1], made.pool.ids[0]]  # with a replicate
    fitted = made.fit(ids, values, (0, 1))
    mean, variance = fitted.left_out()
    rows, gp = fitted.rows, fitted.process.gp
    targets = (fitted.utility - fitted.location) / fitted.scale
    for i in range(TRAIN):
        rest = np.arange(TRAIN) != i
        part = gp.condition(fitted.features_at(rows[rest]), targets[torch.as_tensor(rest)])
        expected, spread = part.marginals(fitted.features_at(rows[[i]]))
        torch.testing.assert_close(mean[i : i + 1], expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(variance[i : i + 1], spread + gp.noise, rtol=1e-5, atol=1e-7)


def test_an_average_leaves_out_in_each_of_its_processes():
    made = surrogate(kind=Averaged)
    fitted = made.fit(made.pool.ids[:TRAIN], made.pool.utility[:TRAIN], (0, 1))
    mean, variance = fitted.left_out()
    targets = (fitted.utility - fitted.location) / fitted.scale
    each, rest = fitted.each(fitted.measured)
    noise = fitted.process.noise(fitted.theta)
    singles = [
        without_itself(each[p], rest[p], targets, noise[p]) for p in range(len(fitted.theta))
    ]
    means = torch.stack([single[0] for single in singles])
    torch.testing.assert_close(mean, means.mean(0))
    spread = torch.stack([single[1] for single in singles]).mean(0) + means.var(0, correction=0)
    torch.testing.assert_close(variance, spread)


@pytest.mark.parametrize(
    ("shape", "transform", "bounds"),
    [
        (lambda x: 30 + 10 * x, "identity", (0.0, 100.0)),
        (lambda x: 100 / (1 + np.exp(-4 * x)), "logit", (0.0, 100.0)),
        (lambda x: np.exp(3 * x), "log", (None, None)),
    ],
)
def test_the_scale_that_predicts_best_is_taken(shape, transform, bounds):
    i = np.arange(N)
    hidden = np.sin(i / 4.0) + 0.3 * (i % 3 - 1)
    rng = np.random.default_rng(1)
    values = shape(hidden + 0.05 * rng.normal(size=N))
    made = surrogate(values)
    outcome = Outcome(name="y", bounds=bounds, transform="auto")
    found = best_scale(made, outcome, made.pool.ids[:25], values[:25], (0, 1))
    assert found.transform == transform
    few = best_scale(made, outcome, made.pool.ids[:5], values[:5], (0, 1))
    assert few.transform == "identity"
    said = outcome.model_copy(update={"transform": "identity"})
    assert best_scale(made, said, made.pool.ids[:25], values[:25], (0, 1)).transform == "identity"


def test_densities_are_of_results_on_the_users_scale():
    made = surrogate()
    values = made.pool.values[:TRAIN]
    scale = Outcome(name="y", bounds=(0.0, 100.0)).scale(values, "logit")
    found = left_out_density(made.fit(made.pool.ids[:TRAIN], scale.utility(values), (0, 1)), scale)
    assert found.shape == (TRAIN,)
    assert (found <= 0).all()


def test_what_is_known_of_every_candidate():
    pool = make_pool(N, values=np.arange(N, dtype=float))
    known = Known.of(pool, list(pool.ids[:5]), pool.values)
    mean, variance = known.posterior(pool.ids)
    np.testing.assert_allclose(mean, pool.values)
    assert variance.max() < 1e-6
    torch.testing.assert_close(
        known.covariance(np.arange(3), np.arange(3)).diagonal(), known.standardised(np.arange(3))[1]
    )
