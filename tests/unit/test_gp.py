import math

import gpytorch
import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior, NormalPrior

from gollum.acquisition.scoring import Aim
from gollum.errors import FitError
from gollum.features.layout import Layout, Slot
from gollum.surrogates import gaussian_process
from gollum.surrogates.base import FitReport
from gollum.surrogates.gaussian_process import FittedProcess
from gollum.surrogates.gp import JITTER, ExactGP, to_botorch
from gollum.surrogates.kernels import _distances, dimension_scaled, isotropic
from helpers import make_pool

NAMES = (
    "kernel.base_kernel.raw_lengthscale",
    "kernel.raw_outputscale",
    "likelihood.noise_covar.raw_noise",
    "mean.raw_constant",
)


class Oracle(gpytorch.models.ExactGP):
    """The same process in GPyTorch, sharing the unconstrained values."""

    def __init__(self, features, targets, gp):
        likelihood = GaussianLikelihood(noise_constraint=GreaterThan(floor(gp)))
        super().__init__(features, targets, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = ScaleKernel(MaternKernel(nu=2.5))
        self.double()
        for own, name in zip(NAMES, self.raw(), strict=True):
            name.data.fill_(raw(gp, own).item())

    def raw(self):
        return (
            self.covar_module.base_kernel.raw_lengthscale,
            self.covar_module.raw_outputscale,
            self.likelihood.noise_covar.raw_noise,
            self.mean_module.constant,
        )

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def layout(size):
    return Layout((Slot("features", (), size),))


def fresh_gp(noise_floor=1e-4, size=3):
    return ExactGP(isotropic(layout(size)), noise_floor)


def raw(gp, name):
    return dict(gp.named_parameters())[name]


def floor(gp):
    return gp.likelihood.noise_covar.raw_noise_constraint.lower_bound.item()


def random_gp(seed, noise_floor=1e-4):
    generator = torch.Generator().manual_seed(seed)
    gp = fresh_gp(noise_floor)
    for name in NAMES:
        raw(gp, name).data.fill_(1.5 * torch.randn((), generator=generator))
    return gp


def data(seed, n=14, d=3, repeats=0):
    rng = np.random.default_rng(seed)
    features, targets = torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.normal(size=n))
    if repeats:
        features[-repeats:] = features[:repeats]
    return features, targets


def exact():
    return gpytorch.settings.fast_computations(False, False, False)


@pytest.mark.parametrize("repeats", [0, 5])
@pytest.mark.parametrize("seed", range(6))
def test_marginal_likelihood_and_its_gradients_equal_gpytorch(seed, repeats):
    gp = random_gp(seed)
    features, targets = data(seed, repeats=repeats)
    theirs_features = features.clone().requires_grad_()
    features.requires_grad_()
    oracle = Oracle(theirs_features, targets, gp).train()
    likelihood = ExactMarginalLogLikelihood(oracle.likelihood, oracle)
    with exact(), gpytorch.settings.debug(False):
        theirs = len(targets) * likelihood(oracle(theirs_features), targets)
    theirs.backward()
    ours = gp.log_marginal_likelihood(features, targets)
    ours.backward()

    assert ours.item() == pytest.approx(theirs.item(), rel=1e-8, abs=1e-8)
    for own, other in zip(NAMES, oracle.raw(), strict=True):
        assert raw(gp, own).grad.item() == pytest.approx(
            other.grad.sum().item(), rel=1e-8, abs=1e-8
        )
    torch.testing.assert_close(features.grad, theirs_features.grad, rtol=1e-8, atol=1e-8)


def test_marginal_likelihood_of_one_point_is_a_normal_density():
    gp = random_gp(0)
    variance = (gp.kernel.outputscale + gp.noise).item()
    expected = -0.5 * (0.7 - gp.constant.item()) ** 2 / variance
    expected -= 0.5 * math.log(2 * math.pi * variance)
    value = gp.log_marginal_likelihood(
        torch.zeros(1, 2).double(), torch.tensor([0.7], dtype=torch.float64)
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_gradient_of_the_likelihood_is_the_finite_difference():
    gp = random_gp(3)
    features, targets = data(3, n=6, d=2)
    assert torch.autograd.gradcheck(
        lambda z: gp.log_marginal_likelihood(z, targets), features.requires_grad_()
    )


@pytest.mark.parametrize("seed", range(3))
def test_marginals_equal_gpytorch(seed):
    gp = random_gp(seed)
    features, targets = data(seed, repeats=2)
    grid = torch.cat([data(seed + 50, n=30)[0], features[:3]])
    oracle = Oracle(features, targets, gp).eval()
    with exact(), torch.no_grad():
        theirs = oracle(grid)
    mean, variance = gp.condition(features, targets).marginals(grid)
    torch.testing.assert_close(mean, theirs.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, theirs.variance, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_posterior_covariance_equals_gpytorch(seed):
    gp = random_gp(seed)
    features, targets = data(seed, repeats=2)
    a = torch.cat([data(seed + 50, n=9)[0], features[:2]])
    b = torch.cat([data(seed + 60, n=5)[0], a[3:4], features[1:4]])
    oracle = Oracle(features, targets, gp).eval()
    with exact(), torch.no_grad():
        theirs = oracle(torch.cat([a, b])).covariance_matrix
    process = gp.condition(features, targets)
    found = process.posterior_covariance(a, b)
    assert found.shape == (len(a), len(b))
    torch.testing.assert_close(found, theirs[: len(a), len(a) :], rtol=1e-6, atol=1e-6)
    own = process.posterior_covariance(a, a)
    torch.testing.assert_close(own, theirs[: len(a), : len(a)], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(own.diagonal(), process.marginals(a)[1], rtol=1e-6, atol=1e-6)
    assert torch.linalg.eigvalsh(own).min() > -1e-9
    assert not own.requires_grad


def test_marginals_interpolate_and_return_to_the_prior():
    gp = random_gp(1, noise_floor=1e-6)
    raw(gp, NAMES[2]).data.fill_(-30.0)
    features, targets = data(1)
    conditioned = gp.condition(features, targets)
    mean, variance = conditioned.marginals(torch.cat([features, features[:1] + 1e6]))
    torch.testing.assert_close(mean[:-1], targets, rtol=1e-3, atol=1e-3)
    assert (variance[:-1] < 1e-4).all()
    assert (variance > 0).all()
    assert mean[-1].item() == pytest.approx(gp.constant.item())
    assert variance[-1].item() == pytest.approx(gp.kernel.outputscale.item())


def fitted_to(gp, features, pool, utility, location, scale):
    """Given the first candidates of a pool."""
    measured = features[: len(utility)].double()
    process = gp.condition(measured, (utility - location) / scale)
    report = FitReport("lbfgs", (0.0,), 0.0, {}, 0.0)
    rows = np.arange(len(utility))
    return FittedProcess(pool, rows, utility, location, scale, report, features, process)


@pytest.mark.parametrize("n", [1, 2, 14])
def test_botorch_model_has_the_same_posterior_in_original_units(n):
    gp = random_gp(4)
    features, _ = data(4, n=40)
    pool = make_pool(40)
    utility = torch.tensor(30.0 + 7.0 * pool.values[:n])
    location = utility.mean()
    scale = utility.std() if n > 1 else torch.tensor(1.0).double()
    fitted = fitted_to(gp, features, pool, utility, location, scale)

    assert isinstance(fitted.model, SingleTaskGP)
    with torch.no_grad():
        theirs = fitted.model.posterior(features)
    mean, variance = fitted.marginals(np.arange(40))
    torch.testing.assert_close(mean, theirs.mean.squeeze(-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, theirs.variance.squeeze(-1), rtol=1e-6, atol=1e-6)
    by_id = fitted.posterior(pool.ids[[5, 2]])
    torch.testing.assert_close(by_id[0], mean[[5, 2]])
    torch.testing.assert_close(by_id[1], variance[[5, 2]])


def of_40(dtype=torch.float64, count=10):
    pool = make_pool(40)
    features = data(4, n=40)[0]
    if dtype != torch.float64:
        features = (features > 0).to(dtype)
    utility = torch.tensor(30.0 + 7.0 * pool.values[:count])
    return fitted_to(random_gp(4), features, pool, utility, utility.mean(), utility.std())


ROWS = {
    "all": range(40),
    "range": range(7, 19),
    "one": [23],
    "last": [39],
    "backwards": [12, 11, 10],
    "repeated": [3, 3, 5],
    "out_of_order": [4, 6, 5, 7],
    "with_a_gap": [4, 5, 7],
    "ends_like_a_range": [2, 9, 1, 5],
    "none": [],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8])
@pytest.mark.parametrize("name", ROWS)
def test_features_of_any_rows_come_in_double_precision(name, dtype):
    fitted, rows = of_40(dtype), np.array(ROWS[name], dtype=np.int64)
    found = fitted.features_at(rows)
    expected = [fitted.features[row].tolist() for row in rows]
    assert found.dtype == torch.float64
    assert found.shape == (len(rows), 3)
    assert found.tolist() == expected
    assert torch.equal(fitted.features_of(fitted.pool.ids[rows]), found)


def test_features_of_consecutive_rows_are_not_copied():
    fitted = of_40()
    for name in ("all", "range", "one", "last"):
        rows = np.array(ROWS[name])
        assert fitted.features_at(rows).data_ptr() == fitted.features[rows[0]].data_ptr()
    for name in ("backwards", "out_of_order", "repeated"):
        found = fitted.features_at(np.array(ROWS[name]))
        assert found.untyped_storage().data_ptr() != fitted.features.untyped_storage().data_ptr()


@pytest.mark.parametrize("piece", [1, 7, 40, 4096])
@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
def test_marginals_in_pieces_are_those_of_all_at_once(piece, dtype, monkeypatch):
    monkeypatch.setattr(gaussian_process, "SCORED", piece)
    fitted = of_40(dtype)
    mean, variance = fitted.process.marginals(fitted.features.double())
    for rows in (np.arange(40), np.array([5, 39, 2, 5, 17, 18, 0, 11])):
        found = fitted.standardised(rows)
        torch.testing.assert_close(found, (mean[rows], variance[rows]), rtol=1e-12, atol=1e-12)
        scaled = fitted.marginals(rows)
        torch.testing.assert_close(scaled[0], fitted.location + fitted.scale * mean[rows])
        torch.testing.assert_close(scaled[1], fitted.scale**2 * variance[rows])
        by_id = fitted.posterior(fitted.pool.ids[rows])
        assert torch.equal(by_id[0], scaled[0])
        assert torch.equal(by_id[1], scaled[1])


def test_the_posterior_of_no_candidates_is_empty():
    mean, variance = of_40().posterior([])
    assert (mean.shape, variance.shape) == ((0,), (0,))
    assert (mean.dtype, variance.dtype) == (torch.float64, torch.float64)


def test_the_best_is_the_largest_standardised_utility():
    fitted = of_40()
    expected = (fitted.utility.max() - fitted.location) / fitted.scale
    assert Aim("ei").best(fitted) == expected
    more = fitted.condition(["c30"], torch.tensor([1e3]))
    best = (1e3 - fitted.location.item()) / fitted.scale.item()
    assert Aim("ei").best(more).item() == pytest.approx(best)


def test_botorch_model_keeps_hyperparameters_at_the_noise_floor():
    gp = random_gp(4)
    raw(gp, NAMES[2]).data.fill_(-60.0)
    features, targets = data(4)
    model = to_botorch(gp, features, targets, torch.tensor(0.0), torch.tensor(1.0))
    kernel = model.covar_module
    assert model.likelihood.noise.item() == pytest.approx(1e-4, rel=1e-6)
    assert kernel.outputscale.item() == pytest.approx(gp.kernel.outputscale.item(), rel=1e-9)
    assert kernel.base_kernel.lengthscale.item() == pytest.approx(
        gp.kernel.base_kernel.lengthscale.item(), rel=1e-9
    )
    assert model.mean_module.constant.item() == pytest.approx(gp.constant.item(), rel=1e-9)


@pytest.mark.parametrize("n", [1, 14])
def test_botorch_model_keeps_a_location_and_scale_that_its_data_do_not_have(n):
    gp = random_gp(4)
    features, targets = data(4)
    location, scale = torch.tensor(10.0).double(), torch.tensor(4.0).double()
    model = to_botorch(gp, features[:n], location + scale * targets[:n], location, scale)
    mean, variance = gp.condition(features[:n], targets[:n]).marginals(features)
    with torch.no_grad():
        theirs = model.posterior(features)
    torch.testing.assert_close(theirs.mean.squeeze(-1), location + scale * mean)
    torch.testing.assert_close(theirs.variance.squeeze(-1), scale**2 * variance)


@pytest.mark.parametrize("dimension", [1, 64, 2048])
def test_priors_equal_gpytorchs(dimension):
    gp = random_gp(7)
    lengthscale = LogNormalPrior(2**0.5 + 0.5 * math.log(dimension), 3**0.5)
    expected = (
        lengthscale.log_prob(gp.kernel.base_kernel.lengthscale)
        + LogNormalPrior(-4.0, 1.0).log_prob(gp.noise)
        + LogNormalPrior(0.0, 1.0).log_prob(gp.kernel.outputscale)
        + NormalPrior(0.0, 1.0).log_prob(gp.constant)
    )
    assert gp.log_prior() == 0
    dimension_scaled(gp, layout(dimension))
    assert gp.log_prior().item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_distances_equal_cdist(offset):
    a, b = data(0, n=9, d=5)[0] + offset, data(1, n=4, d=5)[0] + offset
    expected = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(_distances(a, b, False), expected, rtol=1e-9, atol=1e-9)


def test_distance_zero_has_a_finite_gradient():
    a = data(0, n=4)[0]
    a[3] = a[0]
    a.requires_grad_()
    found = _distances(a, a, False)
    assert found.diagonal().abs().max() < 1e-7
    assert found[0, 3] < 1e-7
    found.sum().backward()
    assert a.grad.isfinite().all()


def test_jitter_is_added_only_when_the_covariance_needs_it(monkeypatch):
    gp = random_gp(2)
    features, targets = data(2)
    assert gp.condition(features, targets).jitter == 0.0

    # A covariance whose smallest eigenvalue is −5e-7: of the steps, 1e-6 is the first to mend it.
    vectors = torch.linalg.qr(torch.randn(14, 14, generator=torch.Generator().manual_seed(0)))[0]
    values = torch.linspace(1.0, 2.0, 14).double()
    values[0] = -5e-7
    broken = (vectors.double() * values) @ vectors.double().T
    noise = gp.noise.detach() * torch.eye(14).double()
    monkeypatch.setattr(gp, "covariance", lambda a, b: 0.5 * (broken + broken.T) - noise)
    conditioned = gp.condition(features, targets)
    assert conditioned.jitter == 1e-6
    assert conditioned.jitter in JITTER
    mended = broken + 1e-6 * torch.eye(14).double()
    factor = conditioned.cholesky
    torch.testing.assert_close(factor @ factor.T, mended, rtol=0, atol=1e-10)


def test_unusable_features_are_refused_and_hyperparameters_named():
    gp = random_gp(2)
    features, targets = data(2)
    features[3, 1] = torch.nan
    with pytest.raises(FitError, match=r"14 observations can't be factorised.*lengthscale"):
        gp.log_marginal_likelihood(features, targets)
    with pytest.raises(FitError, match="infinite or missing features"):
        gp.condition(features, targets)


def test_hyperparameters_start_at_raw_zero():
    half = math.log(2.0)
    assert fresh_gp().hyperparameters() == pytest.approx(
        {"lengthscale": half, "outputscale": half, "noise": half + 1e-4, "constant": 0.0}
    )
    assert [p.dtype for p in fresh_gp().parameters()] == [torch.float64] * 4
    assert {name for name, _ in fresh_gp().named_parameters()} == set(NAMES)


def test_hyperparameters_start_where_gpytorchs_modules_do():
    features, targets = data(0)
    fresh = SingleTaskGP(
        features,
        targets.unsqueeze(-1),
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(1e-4)),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=None,
    )
    ours = fresh_gp().hyperparameters()
    assert fresh.covar_module.outputscale.item() == pytest.approx(ours["outputscale"], rel=1e-6)
    assert fresh.likelihood.noise.item() == pytest.approx(ours["noise"], rel=1e-6)
    assert fresh.covar_module.base_kernel.lengthscale.item() == pytest.approx(
        ours["lengthscale"], rel=1e-6
    )
