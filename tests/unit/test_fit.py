import botorch
import gpytorch
import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP
from botorch.optim.stopping import ExpMAStoppingCriterion
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood

from gollum.errors import FitError
from gollum.features.base import Bounded, FixedFeatures, Projection
from gollum.runtime import seeded
from gollum.settings import LbfgsSettings, OptimizerSettings
from gollum.surrogates import fit as fit_module
from gollum.surrogates.fit import RESTARTS, FitReport, fit_joint, fit_lbfgs
from gollum.surrogates.gaussian_process import DeepKernelGP
from gollum.surrogates.kernels import dimension_scaled

N, D, SIZE = 16, 6, 5
ROWS = np.arange(N)
CPU = torch.device("cpu")


def data(seed=0, n=N):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, D))
    y = np.sin(features[:, 0]) + 0.5 * features[:, 1] + 0.1 * rng.normal(size=n)
    return torch.tensor(features), torch.tensor((y - y.mean()) / y.std(ddof=1))


def projected(seed=0):
    """A trained projection of fixed features, as in PLLM, freshly reset."""
    features, targets = data(seed)
    with seeded(seed):
        featurizer = Projection(FixedFeatures(features), SIZE, 0.01)
        featurizer.reset()
    return DeepKernelGP(Bounded(featurizer)), targets


def plain(seed=0, n=N, prior="none"):
    features, targets = data(seed, n)
    return DeepKernelGP(FixedFeatures(features), prior=prior), features, targets


class ReferenceDeepKernel(gpytorch.models.ExactGP):
    """Projection, ScaleToBounds and process written with GPyTorch's own modules."""

    def __init__(self, features, targets, projection):
        likelihood = GaussianLikelihood(noise_constraint=GreaterThan(1e-4))
        super().__init__(features, targets, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = ScaleKernel(MaternKernel(nu=2.5))
        self.double()
        self.projection = torch.nn.Linear(D, SIZE).double()
        self.projection.load_state_dict(projection.state_dict())
        self.scale = gpytorch.utils.grid.ScaleToBounds(-1.0, 1.0)

    def forward(self, x):
        z = self.scale(torch.nn.functional.elu(self.projection(x)))
        return gpytorch.distributions.MultivariateNormal(self.mean_module(z), self.covar_module(z))


def reference_losses(model, targets, evaluations, lr_model, lr_gp, decay, weight_decay):
    projection = model.representation.inner
    features = projection.inner.matrix
    theirs = ReferenceDeepKernel(features, targets, projection.linear).train()
    likelihood = ExactMarginalLogLikelihood(theirs.likelihood, theirs)
    projection = list(theirs.projection.parameters())
    inside = {id(p) for p in projection}
    optimizer = torch.optim.AdamW(
        [
            {"params": projection, "lr": lr_model},
            {"params": [p for p in theirs.parameters() if id(p) not in inside], "lr": lr_gp},
        ],
        weight_decay=weight_decay,
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)
    losses = []
    with gpytorch.settings.fast_computations(False, False, False):
        for _ in range(evaluations):
            optimizer.zero_grad()
            loss = -likelihood(theirs(features), targets)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    "numbers",
    [
        {"lr_model": 0.002, "lr_gp": 0.2, "decay": 0.95, "weight_decay": 1e-3},
        {"lr_model": 0.03, "lr_gp": 0.01, "decay": 0.8, "weight_decay": 0.2},
    ],
    ids=["paper", "other"],
)
def test_trajectory_equals_a_loop_on_gpytorch_modules(numbers):
    model, targets = projected()
    expected = reference_losses(model, targets, 30, **numbers)
    report = fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=30, **numbers))
    assert report.evaluations == 30
    np.testing.assert_allclose(report.losses, expected, rtol=1e-8, atol=1e-8)


def test_two_groups_with_their_rates_and_decay(monkeypatch):
    made = []

    class Recorded(torch.optim.AdamW):
        def __init__(self, groups, **options):
            super().__init__(groups, **options)
            made.append(self)
            self.rates = []

        def step(self, closure=None):
            self.rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Recorded)
    model, targets = projected()
    fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=6))
    (optimizer,) = made
    features, process = optimizer.param_groups
    assert [id(p) for p in features["params"]] == [id(p) for p in model.representation.parameters()]
    assert [id(p) for p in process["params"]] == [id(p) for p in model.gp.parameters()]
    assert features["weight_decay"] == process["weight_decay"] == 1e-3
    steps = 0.95 ** np.arange(5)
    np.testing.assert_allclose(optimizer.rates, np.outer(steps, [0.002, 0.2]), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", [{}, {"window": 4, "eta": 2.5, "rel_tol": 1e-3}])
def test_stops_where_botorchs_criterion_stops_on_the_same_losses(seed, rule):
    model, targets = projected(seed)
    settings = OptimizerSettings(**rule)
    report = fit_joint(model, ROWS, targets, settings)
    criterion = ExpMAStoppingCriterion(
        maxiter=10_000, n_window=settings.window, eta=settings.eta, rel_tol=settings.rel_tol
    )
    verdicts = [criterion(torch.tensor(loss, dtype=torch.float64)) for loss in report.losses]
    assert verdicts.index(True) == len(verdicts) - 1
    assert report.evaluations > settings.window


def test_stops_before_stepping():
    model, targets = projected()
    report = fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=1))
    before, _ = projected()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name)), name
    assert report.hyperparameters == before.gp.hyperparameters()


def test_last_loss_belongs_to_the_parameters_left_behind():
    model, targets = projected()
    report = fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=9))
    assert not model.training
    with torch.no_grad():
        assert model.loss(ROWS, targets).item() == pytest.approx(report.losses[-1], rel=1e-10)
    assert report.hyperparameters == model.gp.hyperparameters()


@pytest.mark.parametrize("limit", [1, 2, 11, 40])
def test_at_most_max_evaluations(limit):
    model, targets = projected()
    report = fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=limit))
    assert report.evaluations == limit
    assert report.strategy == "joint"


def test_fine_tuning_changes_nothing_where_nothing_is_adapted():
    losses = []
    for fine_tuning in (None, 3):
        model, targets = projected()
        settings = OptimizerSettings(max_evaluations=15, fine_tuning=fine_tuning)
        losses.append(fit_joint(model, ROWS, targets, settings).losses)
    assert len(losses[0]) == 15
    assert losses[0] == losses[1]


@pytest.mark.parametrize("fails", [1, 3])
def test_a_joint_fit_that_fails_begins_anew_with_smaller_steps(monkeypatch, fails):
    model, targets = projected()
    original, calls = model.loss, []

    def loss(rows, y):
        calls.append(model.gp.likelihood.noise_covar.raw_noise.item())
        value = original(rows, y)
        # The third evaluation of the first descents is no number.
        return value * torch.nan if len(calls) in [3 * (k + 1) for k in range(fails)] else value

    monkeypatch.setattr(model, "loss", loss)
    report = fit_joint(model, ROWS, targets, OptimizerSettings(max_evaluations=8))
    assert len(calls) == 3 * fails + 8
    assert report.evaluations == 8
    assert np.isfinite(report.losses).all()
    assert len(report.notes) == fails
    assert all("smaller steps: the loss became nan at evaluation 3" in n for n in report.notes)
    starts = [calls[3 * k] for k in range(fails + 1)]
    assert starts == [0.0] * (fails + 1)
    steps = [abs(calls[3 * k + 1]) for k in range(fails + 1)]
    # The first step of AdamW is as long as its learning rate.
    np.testing.assert_allclose(steps, 0.2 / 4.0 ** np.arange(fails + 1), rtol=1e-3)


def test_a_joint_fit_that_leaves_the_numbers_is_refused():
    model, targets = projected()
    targets = targets.clone()
    targets[3] = torch.nan
    with pytest.raises(FitError, match="also with smaller steps: the loss became nan"):
        fit_joint(model, ROWS, targets, OptimizerSettings())


def test_joint_fit_lowers_the_loss():
    model, targets = projected()
    losses = fit_joint(model, ROWS, targets, OptimizerSettings()).losses
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("seed", range(5))
def test_lbfgs_is_as_good_as_botorchs_fit(seed):
    model, features, targets = plain(seed, n=24)
    report = fit_lbfgs(model, np.arange(24), targets, LbfgsSettings())
    theirs = SingleTaskGP(
        features,
        targets.unsqueeze(-1),
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(1e-4)),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=None,
    )
    likelihood = ExactMarginalLogLikelihood(theirs.likelihood, theirs)
    botorch.fit_gpytorch_mll(likelihood)
    theirs.train()
    with torch.no_grad():
        best = -likelihood(theirs(features), targets).item()
        reached = model.loss(np.arange(24), targets).item()
    assert reached <= best + 1e-4
    assert min(report.losses) == pytest.approx(reached, abs=1e-6)
    assert report.strategy == "lbfgs"
    assert report.notes == ()
    assert report.hyperparameters == model.gp.hyperparameters()


def test_lbfgs_ends_at_a_stationary_point():
    model, _, targets = plain(1, n=24)
    fit_lbfgs(model, np.arange(24), targets, LbfgsSettings())
    model.loss(np.arange(24), targets).backward()
    assert max(abs(p.grad.item()) for p in model.gp.parameters()) < 1e-3


def test_lbfgs_with_priors_maximizes_the_posterior_density():
    model, features, targets = plain(2, prior="dimension_scaled")
    report = fit_lbfgs(model, ROWS, targets, LbfgsSettings())
    other, _, _ = plain(2)
    other.gp.load_state_dict(model.gp.state_dict(), strict=False)
    dimension_scaled(other.gp, other.representation.layout)
    likelihood = model.gp.log_marginal_likelihood(features, targets)
    density = likelihood + model.gp.log_prior()
    assert report.loss == pytest.approx(-(likelihood + other.gp.log_prior()).item() / N)
    assert model.loss(ROWS, targets).item() == pytest.approx(report.loss)
    assert other.gp.log_prior().item() != 0
    (-density / N).backward()
    assert max(abs(p.grad.item()) for p in model.gp.parameters()) < 1e-3
    free, _, _ = plain(2)
    without = fit_lbfgs(free, ROWS, targets, LbfgsSettings())
    assert report.hyperparameters["noise"] != pytest.approx(without.hyperparameters["noise"])


def test_lbfgs_respects_its_iteration_limit():
    few, _, targets = plain(0)
    many, _, _ = plain(0)
    short = fit_lbfgs(few, ROWS, targets, LbfgsSettings(max_iterations=1))
    long = fit_lbfgs(many, ROWS, targets, LbfgsSettings())
    assert short.evaluations < long.evaluations
    assert long.losses[-1] < short.losses[-1]


def test_a_failing_start_is_retried_and_reported(monkeypatch):
    model, _, targets = plain()
    working, calls = fit_module.scipy_minimize, []

    def fails_once(closure, parameters, **options):
        calls.append({name: p.item() for name, p in parameters.items()})
        if len(calls) == 1:
            raise FitError("no luck")
        return working(closure, parameters, **options)

    monkeypatch.setattr(fit_module, "scipy_minimize", fails_once)
    report = fit_lbfgs(model, ROWS, targets, LbfgsSettings())
    assert report.notes == ("L-BFGS start 1 failed: no luck",)
    assert set(calls[0].values()) == {0.0}
    assert 0.0 not in calls[1].values()
    assert np.isfinite(report.losses).all()
    assert report.evaluations > 1


def test_a_fit_that_always_fails_says_what_was_tried(monkeypatch):
    model, _, targets = plain()

    def fails(*_, **__):
        raise FitError("no luck")

    monkeypatch.setattr(fit_module, "scipy_minimize", fails)
    with pytest.raises(FitError, match="could not be fitted") as caught:
        fit_lbfgs(model, ROWS, targets, LbfgsSettings())
    assert str(caught.value).count("no luck") == 1 + RESTARTS


def test_targets_that_are_no_numbers_are_refused():
    model, _, targets = plain()
    targets = targets.clone()
    targets[0] = torch.nan
    with pytest.raises(FitError, match="could not be fitted"):
        fit_lbfgs(model, ROWS, targets, LbfgsSettings())


def test_restarts_repeat_with_the_seed(monkeypatch):
    working = fit_module.scipy_minimize

    def retried():
        model, _, targets = plain()
        first = [True]

        def fails_once(closure, parameters, **options):
            if first.pop() if first else False:
                raise FitError("no luck")
            return working(closure, parameters, **options)

        monkeypatch.setattr(fit_module, "scipy_minimize", fails_once)
        with seeded(3):
            return fit_lbfgs(model, ROWS, targets, LbfgsSettings(max_iterations=1)).losses

    assert retried() == retried()


def test_a_fit_without_convergence_says_so_and_reports_the_loss_it_kept():
    model, _, targets = plain()
    report = fit_lbfgs(model, ROWS, targets, LbfgsSettings(max_iterations=1))
    assert "without convergence" in report.notes[0]
    with torch.no_grad():
        kept = -model.gp.log_marginal_likelihood(model.features(ROWS), targets) / len(targets)
    assert report.loss == pytest.approx(kept.item(), rel=1e-12)


def test_report_counts_its_losses():
    assert FitReport("joint", (3.0, 2.0, 1.0), 1.0, {}, 0.1).evaluations == 3
