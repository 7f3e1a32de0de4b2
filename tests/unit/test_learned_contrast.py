"""The gradient of the marginal likelihood in each kernel value: autograd and finite differences."""

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.analysis.learned.contrast import (
    by_difference,
    by_kind,
    gradient_of,
    pairs,
)
from gollum.features.base import FixedFeatures, Projection
from gollum.features.fixed.columns import one_hot
from gollum.settings import Settings
from gollum.surrogates.gaussian_process import GaussianProcess
from helpers import CPU, make_pool

N, TRAIN = 40, 12


def log_likelihood(sigma, residual):
    chol = torch.linalg.cholesky(sigma)
    white = torch.linalg.solve_triangular(chol, residual.unsqueeze(-1), upper=False)
    return -0.5 * white.square().sum() - chol.diagonal().log().sum()


def likelihood_gradient(sigma, residual):
    """½(ααᵀ − Σ⁻¹), as the book has it."""
    inverse = np.linalg.inv(sigma)
    alpha = inverse @ residual
    return 0.5 * (np.outer(alpha, alpha) - inverse)


@pytest.fixture(scope="module")
def system():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 2))
    sigma = np.exp(-0.5 * ((x[:, None] - x) ** 2).sum(-1)) + 0.1 * np.eye(7)
    return sigma, rng.normal(size=7)


def test_against_autograd(system):
    sigma, residual = (torch.tensor(part) for part in system)
    sigma.requires_grad_()
    log_likelihood(0.5 * (sigma + sigma.T), residual).backward()
    assert np.allclose(likelihood_gradient(*system), sigma.grad.numpy())


def test_of_a_pair_against_finite_differences(system):
    sigma, residual = system
    table = pairs(likelihood_gradient(sigma, residual), np.arange(7.0), list("abcdefg"), sigma)
    row = table[(table["first"] == "b") & (table["second"] == "e")].iloc[0]
    step = np.zeros_like(sigma)
    step[1, 4] = step[4, 1] = 1e-5
    up, down = (
        log_likelihood(torch.tensor(sigma + sign * step), torch.tensor(residual)).item()
        for sign in (1, -1)
    )
    assert row["gradient"] == pytest.approx((up - down) / 2e-5, rel=1e-6)
    assert row["similarity"] == sigma[1, 4]
    assert row["difference"] == 3.0


def surrogate(trained):
    pool = make_pool(N, values=50 + 9 * (np.arange(N) % 3) + np.sin(np.arange(N) / 4.0))
    features = FixedFeatures(one_hot(pool))
    made = Projection(features, 3, 0.01) if trained else features
    optimizer = Settings().optimizer.model_copy(update={"max_evaluations": 30})
    return GaussianProcess(pool, made, Settings(optimizer=optimizer), CPU)


@pytest.mark.parametrize("trained", [False, True])
def test_of_a_fit_from_what_every_fitted_model_tells(trained):
    made = surrogate(trained)
    fitted = made.fit(made.pool.ids[:TRAIN], made.pool.utility[:TRAIN], (0, 1))
    gp, features = fitted.process.gp, fitted.features_at(fitted.rows)
    with torch.no_grad():
        sigma = gp.covariance(features, features) + gp.noise * torch.eye(TRAIN)
        targets = (fitted.utility - fitted.location) / fitted.scale - gp.constant
    expected = likelihood_gradient(sigma.numpy(), targets.numpy())
    assert np.allclose(gradient_of(fitted), expected, rtol=1e-4, atol=1e-6 * abs(expected).max())


def test_training_follows_the_gradient():
    """One step of the optimiser makes alike what the gradient pulls together."""
    made = surrogate(trained=True)
    ids, utility = made.pool.ids[:TRAIN], made.pool.utility[:TRAIN]
    start, after = (made.stopped_after(k).fit(ids, utility, (0, 1)) for k in (1, 2))
    assert (start.report.evaluations, after.report.evaluations) == (1, 2)
    assert after.report.loss < start.report.loss
    gradient = gradient_of(start)
    change = after.similarity(after.rows, after.rows) - start.similarity(start.rows, start.rows)
    assert float((gradient * change.numpy()).sum()) > 0


def test_before_the_first_step_nothing_has_changed():
    for trained in (False, True):
        made = surrogate(trained)
        start = made.stopped_after(1).fit(made.pool.ids[:TRAIN], made.pool.utility[:TRAIN], (0, 1))
        assert start.report.evaluations == 1
        assert start.report.hyperparameters["lengthscale"] == pytest.approx(np.log(2))
        whole = made.fit(made.pool.ids[:TRAIN], made.pool.utility[:TRAIN], (0, 1))
        assert whole.report.losses[0] == start.report.losses[0]


def test_pairs_are_sorted_and_grouped():
    outcomes = np.array([0.0, 0.0, 5.0, 9.0, 9.0])
    gradient = np.where(np.abs(outcomes[:, None] - outcomes) > 4, -1.0, 1.0)
    table = pairs(gradient, outcomes, list("vwxyz"), np.ones((5, 5)))
    assert table["difference"].is_monotonic_increasing
    assert len(table) == 10
    kinds = by_kind(table).set_index("kind")
    assert kinds["pairs"].to_dict() == {"high–high": 1, "high–low": 4, "low–low": 1}
    assert kinds.loc["high–low", "together"] == 0
    assert kinds.loc["high–high", "gradient"] == 2.0
    bins = by_difference(table, bins=5)
    assert bins["pairs"].tolist() == [2] * 5
    assert bins["together"].iloc[0] == 1.0
    assert bins["together"].iloc[-1] == 0.0
    assert by_difference(pd.DataFrame(columns=table.columns)).empty
