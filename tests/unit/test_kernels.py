"""Kernels made from a layout: values and gradients against GPyTorch's own and closed forms."""

import gpytorch
import numpy as np
import pytest
import torch
from gpytorch.kernels import AdditiveKernel, Kernel, MaternKernel, ProductKernel, ScaleKernel
from gpytorch.priors import GammaPrior, LogNormalPrior
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit.DataStructs import ConvertToNumpyArray, ExplicitBitVect, TanimotoSimilarity

from gollum.errors import ConfigError
from gollum.features.layout import Layout, Slot
from gollum.surrogates.gp import ExactGP, to_botorch
from gollum.surrogates.kernels import (
    KERNELS,
    Matern,
    Tanimoto,
    dimension_scaled,
    kernel_factory,
    make_kernel,
)

LAYOUT = Layout(
    (
        Slot("one_hot", ("ligand",), 3, "indicators", 0.5),
        Slot("one_hot", ("hours",), 1, "number", 0.1),
        Slot("morgan", ("smiles",), 5, "bits", 4.0),
    )
)
D = LAYOUT.size
seeds = st.integers(0, 10_000)


def points(seed, n, low=-2.0, high=2.0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, D, dtype=torch.float64, generator=generator)


def randomised(kernel, seed):
    """The kernel in double precision with other hyperparameters."""
    kernel.double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in kernel.parameters():
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.copy_(0.7 * draw)
    return kernel


def matern(dims, lengthscale):
    """GPyTorch's own Matérn-5/2 of some features."""
    kernel = MaternKernel(nu=2.5, ard_num_dims=len(dims), active_dims=dims).double()
    kernel.lengthscale = lengthscale.detach().expand(1, len(dims))
    return kernel


def scaled(kernel, outputscale):
    kernel = ScaleKernel(kernel).double()
    kernel.outputscale = outputscale.detach()
    return kernel


def slots():
    return [(slot, LAYOUT.dims(slot.name)) for slot in LAYOUT]


def theirs(name, kernel):
    """The same kernel made of GPyTorch's modules alone."""
    if name == "isotropic" or name == "ard":
        base = matern(list(range(D)), kernel.base_kernel.lengthscale)
    elif name == "slot_ard":
        each = kernel.base_kernel.lengthscale[0]
        wide = [
            length * slot.spread**0.5
            for (slot, dims), length in zip(slots(), each, strict=True)
            for _ in dims
        ]
        base = matern(list(range(D)), torch.stack(wide))
    elif name == "additive":
        return AdditiveKernel(
            *(
                scaled(
                    matern(dims, part.base_kernel.lengthscale * slot.spread**0.5), part.outputscale
                )
                for (slot, dims), part in zip(slots(), kernel.kernels, strict=True)
            )
        )
    else:
        base = ProductKernel(
            *(
                matern(dims, part.lengthscale * slot.spread**0.5)
                for (slot, dims), part in zip(slots(), kernel.base_kernel.kernels, strict=True)
            )
        )
    return scaled(base, kernel.outputscale)


def gradients(kernel, a, b, weights):
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    (kernel(a, b).to_dense() * weights).sum().backward()
    return a.grad, b.grad


@pytest.mark.parametrize("name", ["isotropic", "ard", "slot_ard", "additive", "product"])
@given(seed=seeds)
@settings(max_examples=12, deadline=None)
def test_values_and_gradients_equal_gpytorchs(name, seed):
    ours = randomised(make_kernel(name, LAYOUT), seed)
    other = theirs(name, ours)
    a, b, weights = points(seed, 6), points(seed + 1, 4), points(seed + 2, 6)[:, :4]
    with torch.no_grad():
        torch.testing.assert_close(ours(a, b).to_dense(), other(a, b).to_dense())
        torch.testing.assert_close(ours(a, diag=True), ours(a).to_dense().diagonal())
    found, expected = gradients(ours, a, b, weights), gradients(other, a, b, weights)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", KERNELS)
@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_gradients_of_hyperparameters_are_finite_differences(name, seed):
    kernel = randomised(make_kernel(name, LAYOUT), seed)
    a, weights = points(seed, 5, 0.0, 1.0), points(seed + 2, 5)[:, :5]

    def value():
        return (kernel(a).to_dense() * weights).sum()

    value().backward()
    for parameter in kernel.parameters():
        found = []
        with torch.no_grad():
            for step in (1e-5, -2e-5):
                parameter.view(-1)[0] += step
                found.append(value().item())
            parameter.view(-1)[0] += 1e-5
        slope = (found[0] - found[1]) / 2e-5
        assert slope == pytest.approx(parameter.grad.flatten()[0].item(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", KERNELS)
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_covariances_are_symmetric_and_positive(name, seed):
    kernel = randomised(make_kernel(name, LAYOUT), seed)
    a = points(seed, 12, 0.0, 1.0).round()  # with repeats
    with torch.no_grad():
        matrix = kernel(a).to_dense()
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-9 * matrix.max()


@pytest.mark.parametrize("name", KERNELS)
def test_repeated_points_have_finite_gradients(name):
    kernel = make_kernel(name, LAYOUT).double()
    a = torch.zeros(4, D, dtype=torch.float64)
    a[3, 0] = 1.0
    a.requires_grad_()
    kernel(a).to_dense().sum().backward()
    assert a.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in kernel.parameters())


def test_one_product_of_matrices_gives_what_gpytorchs_matern_gives_far_from_the_origin():
    a, b = points(0, 7) + 100.0, points(1, 5) + 100.0
    ours, plain = Matern(nu=2.5).double(), MaternKernel(nu=2.5).double()
    with torch.no_grad():
        torch.testing.assert_close(
            ours(a, b).to_dense(), plain(a, b).to_dense(), rtol=1e-7, atol=1e-9
        )


def test_tanimoto_is_rdkits():
    bits = (points(3, 9, 0.0, 1.0) > 0.5).double()
    bits[4] = 0.0
    vectors = []
    for row in bits:
        vector = ExplicitBitVect(D)
        vector.SetBitsFromList([int(i) for i in row.nonzero()])
        check = np.zeros(D)
        ConvertToNumpyArray(vector, check)
        assert check.tolist() == row.tolist()
        vectors.append(vector)
    with torch.no_grad():
        found = Tanimoto()(bits).to_dense()
    for i, one in enumerate(vectors):
        for j, other in enumerate(vectors):
            both_empty = not bits[i].any() and not bits[j].any()
            expected = 1.0 if both_empty else TanimotoSimilarity(one, other)
            assert found[i, j].item() == pytest.approx(expected)
    assert (Tanimoto()(bits, diag=True) == 1.0).all()


def test_tanimoto_compares_bits_and_leaves_numbers_to_matern():
    kernel = make_kernel("tanimoto", LAYOUT)
    names = [type(part).__name__ for part in kernel.base_kernel.kernels]
    assert names == ["Tanimoto", "SlotMatern", "Tanimoto"]
    assert isinstance(make_kernel("tanimoto(morgan:smiles)", LAYOUT).base_kernel, Tanimoto)


def test_a_kernel_may_see_some_slots_alone():
    kernel = make_kernel("slot_ard(one_hot:hours, morgan:smiles)", LAYOUT).double()
    a, b = points(0, 4), points(0, 4)
    b[:, :3] += 5.0  # another ligand
    with torch.no_grad():
        torch.testing.assert_close(kernel(a).to_dense(), kernel(a, b).to_dense())
    assert kernel.base_kernel.lengthscale.shape == (1, 2)


def test_what_can_not_be_used_is_refused():
    with pytest.raises(ConfigError, match=r"kernel 'slotard' is unknown.*Did you mean 'slot_ard'"):
        make_kernel("slotard", LAYOUT)
    with pytest.raises(
        ConfigError,
        match=r"no slot 'one_hot:ligan'.*mean 'one_hot:ligand'.*There are one_hot:ligand, one_hot",
    ):
        make_kernel("additive(one_hot:ligan)", LAYOUT)
    with pytest.raises(ConfigError, match=r"'ard\(' can't be read; write NAME or NAME\(SLOT"):
        kernel_factory("ard(")
    with pytest.raises(ConfigError, match="3 is no kernel"):
        kernel_factory(3)
    with pytest.raises(ConfigError, match="gave an int, not a GPyTorch Kernel"):
        make_kernel(lambda layout: 3, LAYOUT)


def test_priors_count_what_there_is_to_learn():
    gp = ExactGP(make_kernel("slot_ard", LAYOUT))
    dimension_scaled(gp, LAYOUT)
    prior = gp.kernel.base_kernel.lengthscale_prior
    assert isinstance(prior, LogNormalPrior)
    assert prior.loc.item() == pytest.approx(2**0.5 + 0.5 * np.log(len(LAYOUT)))
    assert len(list(gp.named_priors())) == 4
    other = ExactGP(make_kernel("additive", LAYOUT))
    dimension_scaled(other, LAYOUT)
    assert len(list(other.named_priors())) == 2 * len(LAYOUT) + 2
    assert torch.isfinite(other.log_prior())


def test_priors_of_a_kernels_own_are_kept():
    class Own(Kernel):
        has_lengthscale = True

    kernel = Own(lengthscale_prior=GammaPrior(3.0, 6.0))
    gp = ExactGP(kernel)
    dimension_scaled(gp, LAYOUT)
    assert isinstance(gp.kernel.lengthscale_prior, GammaPrior)
    expected = GammaPrior(3.0, 6.0).log_prob(gp.kernel.lengthscale.detach()).sum().double()
    gp_alone = ExactGP(Own(lengthscale_prior=GammaPrior(3.0, 6.0)))
    assert gp_alone.log_prior().item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_the_botorch_model_is_a_copy_with_the_same_posterior(name):
    gp = ExactGP(make_kernel(name, LAYOUT))
    a, targets = points(5, 9, 0.0, 1.0), torch.randn(9, dtype=torch.float64)
    grid = points(6, 20, 0.0, 1.0)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    model = to_botorch(gp, a, targets, zero, one)
    assert type(model.covar_module) is type(gp.kernel)
    process = gp.condition(a, targets)
    mean, variance = process.marginals(grid)
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        posterior = model.posterior(grid)
    torch.testing.assert_close(mean, posterior.mean.squeeze(-1), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(variance, posterior.variance.squeeze(-1), rtol=1e-8, atol=1e-8)
    for parameter in model.parameters():
        parameter.data.add_(1.0)  # whoever fits it anew leaves ours alone
    torch.testing.assert_close(process.marginals(grid), (mean, variance))


def test_a_kernel_that_is_handed_out_twice_is_fitted_twice():
    shared = ScaleKernel(MaternKernel(nu=2.5))
    first, second = (ExactGP(make_kernel(lambda layout: shared, LAYOUT)) for _ in range(2))
    first.kernel.outputscale = 5.0
    assert second.kernel.outputscale.item() == pytest.approx(np.log(2.0))


def test_variances_of_a_kernel_that_differs_between_points():
    class Growing(Kernel):
        has_lengthscale = True  # which GPyTorch takes for stationary

        def forward(self, x1, x2, diag=False, **params):
            grown = x1.square().sum(-1).sqrt(), x2.square().sum(-1).sqrt()
            return grown[0] * grown[1] if diag else grown[0].unsqueeze(-1) * grown[1].unsqueeze(-2)

    gp, a = ExactGP(Growing()), points(0, 5)
    with torch.no_grad():
        torch.testing.assert_close(gp.variance(a), gp.covariance(a, a).diagonal())


def test_slots_of_columns_with_brackets_can_be_named():
    layout = Layout((Slot("one_hot", ("hours (h)",), 1, "number", 0.1), *LAYOUT.slots[:1]))
    kernel = make_kernel("slot_ard(one_hot:hours (h))", layout)
    assert kernel.base_kernel.lengthscale.shape == (1, 1)


def test_slots_have_names_of_their_own():
    with pytest.raises(ConfigError, match="slots need names of their own"):
        Layout((LAYOUT.slots[0], LAYOUT.slots[0]))
