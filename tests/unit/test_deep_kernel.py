import pytest
import torch
from gpytorch.utils.grid import ScaleToBounds

from gollum.features.base import BOUND, Bounded, FixedFeatures
from gollum.features.layout import Layout, Slot
from gollum.surrogates.gaussian_process import DeepKernelGP
from gollum.surrogates.gp import ExactGP
from gollum.surrogates.kernels import isotropic


def matrix(seed, spread=3.0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(7, 5, dtype=torch.float64, generator=generator)


def bounded():
    return Bounded(FixedFeatures(matrix(0)))


def both(training):
    return bounded().train(training), ScaleToBounds(-1.0, 1.0).double().train(training)


def scale(module, features):
    return module.change(features) if isinstance(module, Bounded) else module(features)


@pytest.mark.parametrize("seed", range(3))
def test_training_equals_gpytorch_in_value_and_gradient(seed):
    ours, theirs = both(True)
    weights, results = matrix(seed + 10), []
    for module in (ours, theirs):
        features = matrix(seed).requires_grad_()
        scaled = scale(module, features)
        (scaled * weights).sum().backward()
        results.append((scaled.detach(), features.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-10, atol=1e-12)
    assert results[0][0].min().item() == pytest.approx(-BOUND)
    assert results[0][0].max().item() == pytest.approx(BOUND)


def test_prediction_uses_the_last_training_bounds_and_clamps_to_them():
    ours, theirs = both(True)
    wide = matrix(1, spread=10.0)
    for module in (ours, theirs):
        scale(module, matrix(5))
        scale(module, matrix(0))
        module.eval()
    results = []
    for module in (ours, theirs):
        features = wide.clone().requires_grad_()
        scaled = scale(module, features)
        (scaled * matrix(2)).sum().backward()
        results.append((scaled.detach(), features.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-12, atol=1e-12)
    outside = (wide < matrix(0).min()) | (wide > matrix(0).max())
    assert outside.any()
    assert (results[0][0][outside].abs() - BOUND).abs().max() < 1e-12
    assert (results[0][1][outside] == 0).all()


def test_prediction_leaves_the_bounds_alone():
    ours, _ = both(True)
    ours.change(matrix(0))
    low, high = ours.low.clone(), ours.high.clone()
    ours.eval().change(matrix(1, spread=50.0))
    assert (ours.low, ours.high) == (low, high)


def test_bounds_carry_no_graph():
    ours, _ = both(True)
    ours.change(matrix(0).requires_grad_())
    assert not ours.low.requires_grad
    assert not ours.high.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_constant_features_stay_finite(training):
    scaler = bounded().train()
    scaler.change(torch.full((4, 3), 2.0, dtype=torch.float64))
    scaler.train(training)
    scaled = scaler.change(torch.full((4, 3), 2.0, dtype=torch.float64))
    assert scaled.tolist() == [[-BOUND] * 3] * 4


def test_constant_features_give_a_finite_loss_and_gradient():
    features = torch.full((4, 3), 2.0, dtype=torch.float64, requires_grad=True)
    scaled = bounded().train().change(features)
    targets = torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64)
    gp = ExactGP(isotropic(Layout((Slot("features", (), 3),))))
    gp.log_marginal_likelihood(scaled, targets).backward()
    assert features.grad.isfinite().all()


def test_loss_is_the_negative_likelihood_per_point_of_scaled_features():
    features, targets = matrix(3), matrix(4)[:, 0]
    model = DeepKernelGP(Bounded(FixedFeatures(features))).train()
    rows = torch.tensor([4, 0, 2]).numpy()
    low, high = features[rows].min(), features[rows].max()
    scaled = 2 * BOUND * (features[rows] - low) / (high - low) - BOUND
    expected = -model.gp.log_marginal_likelihood(scaled, targets[rows]) / 3
    assert model.loss(rows, targets[rows]).item() == pytest.approx(expected.item(), rel=1e-10)


def test_without_scaling_the_kernel_sees_the_features_themselves():
    features = matrix(3)
    model = DeepKernelGP(FixedFeatures(features))
    rows = torch.tensor([1, 1, 6]).numpy()
    assert torch.equal(model.features(rows), features[rows])
