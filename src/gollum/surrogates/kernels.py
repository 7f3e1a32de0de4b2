"""Kernels: GPyTorch modules made from a layout, so that they can weigh what is in it.

A kernel sees raw features; which of them belong together is what its layout says. All are
Matérn-5/2 (Rasmussen & Williams 2006, eq. 4.17) in different distances, but for `tanimoto`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import AdditiveKernel, Kernel, MaternKernel, ProductKernel, ScaleKernel
from gpytorch.priors import LogNormalPrior, NormalPrior
from torch import Tensor

from gollum.errors import ConfigError
from gollum.features.layout import Layout, Slot
from gollum.protocols import a, running
from gollum.registry import Registry
from gollum.surrogates.gp import ExactGP

SMALLEST = 1e-4  # of many lengthscales: below, distances lose their digits, and nothing is alike
KernelFactory = Callable[[Layout], Kernel]
KERNELS: Registry[Callable[..., Kernel]] = Registry("kernel", "kernels")


def kernel_factory(spec: str | KernelFactory) -> KernelFactory:
    """What makes a kernel from a layout: a function as it stands, or what a text stands for.

    Args:
        spec: 'NAME', or 'NAME(SLOT, SLOT)' for a kernel that sees these slots alone.

    Raises:
        ConfigError: there is no such kernel, or the text is malformed.
    """
    if not isinstance(spec, str):
        if callable(spec):
            return spec
        raise ConfigError(
            f"{spec!r} is no kernel; give a name or a function that makes one of a Layout."
        )
    found = re.fullmatch(r"([\w.-]+)(?:\((.*)\))?", spec.strip())
    if found is None:
        raise ConfigError(f"kernel '{spec}' can't be read; write NAME or NAME(SLOT, SLOT).")
    name, slots = found.groups()
    factory = KERNELS[name]
    if slots is None:
        return factory
    if "slots" not in inspect.signature(factory).parameters:
        raise ConfigError(f"kernel '{name}' takes no slots; write --kernel {name}.")
    return partial(factory, slots=tuple(slot.strip() for slot in slots.split(",")))


def make_kernel(spec: str | KernelFactory, layout: Layout) -> Kernel:
    """The kernel that a spec stands for, on features of this layout.

    Raises:
        ConfigError: the spec can't be used, names a slot that is not there, or makes no kernel.
    """
    factory = kernel_factory(spec)
    name = spec if isinstance(spec, str) else getattr(spec, "__name__", repr(spec))
    with running(getattr(factory, "func", factory), f"kernel '{name}'"):
        kernel = factory(layout)
    if not isinstance(kernel, Kernel):
        raise ConfigError(
            f"kernel '{name}' gave {a(type(kernel).__name__)}, not a GPyTorch Kernel."
        )
    return deepcopy(kernel)  # a factory may hand out one object again and again


@KERNELS.register("isotropic", about="one lengthscale for all features")
def isotropic(layout: Layout, slots: Sequence[str] = ()) -> Kernel:
    """One lengthscale ℓ: r = |a − b| / ℓ, as in arXiv 2504.06265."""
    return ScaleKernel(Matern(nu=2.5, active_dims=_dims(layout, slots)))


@KERNELS.register("ard", about="a lengthscale for each feature")
def ard(layout: Layout, slots: Sequence[str] = ()) -> Kernel:
    """A lengthscale ℓ_i for each feature: r² = Σ (a_i − b_i)² / ℓ_i²."""
    dims = _dims(layout, slots)
    count = layout.size if dims is None else len(dims)
    floor = GreaterThan(SMALLEST)
    kernel = MaternKernel(
        nu=2.5, ard_num_dims=count, active_dims=dims, lengthscale_constraint=floor
    )
    return ScaleKernel(kernel)


@KERNELS.register("slot_ard", about="a lengthscale for each column and representation")
def slot_ard(layout: Layout, slots: Sequence[str] = ()) -> Kernel:
    """A lengthscale ℓ_s for each slot: r² = Σ_s |a_s − b_s|² / (ℓ_s² v_s).

    v_s is the slot's spread, so that an ℓ of 1 means the same in a slot of 30 indicators, of one
    number and of 2,048 bits.
    """
    return ScaleKernel(SlotMatern([slot for slot, _ in layout.only(slots)], _dims(layout, slots)))


@KERNELS.register("additive", about="a sum over columns and representations")
def additive(layout: Layout, slots: Sequence[str] = ()) -> Kernel:
    """Compute Σ_s k_s, with an outputscale and a lengthscale of its own for each slot."""
    parts = [ScaleKernel(_own(slot, dims)) for slot, dims in layout.only(slots)]
    for part in parts:  # together they begin where one kernel would
        part.initialize(outputscale=math.log(2.0) / len(parts))
    return AdditiveKernel(*parts)


@KERNELS.register("product", about="a product over columns and representations")
def product(layout: Layout, slots: Sequence[str] = ()) -> Kernel:
    """Compute s Π_s k_s, with a lengthscale of its own for each slot."""
    return ScaleKernel(ProductKernel(*(_own(slot, dims) for slot, dims in layout.only(slots))))


@KERNELS.register(
    "tanimoto", about="Tanimoto similarity of bits and counts, times Matérn of others"
)
def tanimoto(layout: Layout, slots: Sequence[str] = ()) -> Kernel:
    """Compute s Π_s k_s, where slots of bits, counts and indicators compare by Tanimoto."""
    parts = [
        _own(slot, dims) if slot.form in ("number", "vector") else Tanimoto(active_dims=dims)
        for slot, dims in layout.only(slots)
    ]
    return ScaleKernel(ProductKernel(*parts) if len(parts) > 1 else parts[0])


class Matern(MaternKernel):
    """GPyTorch's Matérn-5/2 of one lengthscale, with one product of matrices and no copies.

    GPyTorch centres, scales and pads both sets of features each time, which takes longer than the
    product where there are thousands of bits.
    """

    same_everywhere = True  # the variance of one point is that of all

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """Correlations n x m of n x d and m x d; n of the diagonal."""
        lengthscale = self.lengthscale.squeeze(-1) if diag else self.lengthscale
        return correlation(_distances(x1, x2, diag) / lengthscale)


class SlotMatern(Kernel):
    """Matérn-5/2 of a squared distance that is a weighted sum of one per slot.

    Args:
        slots: the S slots, in the order of their features.
        dims: positions of these features; all by default.
    """

    has_lengthscale = True
    same_everywhere = True
    slot_of: Tensor
    spread: Tensor

    def __init__(self, slots: Sequence[Slot], dims: Sequence[int] | None = None) -> None:
        floor = GreaterThan(SMALLEST)
        super().__init__(ard_num_dims=len(slots), active_dims=dims, lengthscale_constraint=floor)
        self.ard_num_dims = None  # there are more features than lengthscales
        sizes = torch.tensor([slot.size for slot in slots])
        self.register_buffer("slot_of", torch.arange(len(slots)).repeat_interleave(sizes))
        width = torch.tensor([slot.spread or 1.0 for slot in slots], dtype=torch.float64)
        self.register_buffer("spread", width.sqrt())

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """Correlations n x m of n x d and m x d; n of the diagonal."""
        scale = (self.lengthscale * self.spread)[..., self.slot_of]
        return correlation(_distances(x1 / scale, x2 / scale, diag))


class Tanimoto(Kernel):
    """Tanimoto (Jaccard) similarity a·b / (|a|² + |b|² − a·b) of non-negative features.

    A valid kernel: Gower, Biometrics 1971, 27, 857; for molecules: Ralaivola et al., Neural
    Networks 2005, 18, 1093. Of two vectors of zeros it is 1.
    """

    is_stationary = False

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """Similarities n x m of n x d and m x d; n of the diagonal."""
        first, second = x1.square().sum(-1), x2.square().sum(-1)
        if diag:
            common = (x1 * x2).sum(-1)
            rest = first + second - common
        else:
            common = x1 @ x2.transpose(-1, -2)
            rest = first.unsqueeze(-1) + second.unsqueeze(-2) - common
        empty = rest <= 0
        value: Tensor = torch.where(empty, 1.0, common / torch.where(empty, 1.0, rest))
        return value


def correlation(distance: Tensor) -> Tensor:
    """Matérn-5/2 of distances r: (1 + √5 r + 5r²/3) exp(−√5 r)."""
    r = math.sqrt(5.0) * distance
    value: Tensor = (1.0 + r + r.square() / 3.0) * torch.exp(-r)
    return value


def _distances(a: Tensor, b: Tensor, diag: bool) -> Tensor:
    """Euclidean distances n x m of n x d and m x d, or n of pairs; finite gradient at zero."""
    if diag:
        return (a - b).square().sum(-1).clamp_min(1e-30).sqrt()
    centre = a.mean(-2, keepdim=True).detach()
    a, b = a - centre, b - centre
    products = a @ b.transpose(-1, -2)
    lengths = a.square().sum(-1, keepdim=True) + b.square().sum(-1).unsqueeze(-2)
    return (lengths - 2.0 * products).clamp_min(1e-30).sqrt()


def dimension_scaled(gp: ExactGP, layout: Layout) -> None:
    """Register the priors of Hvarfner, Hellsten and Nardi (ICML 2024, arXiv 2402.02229).

    Lengthscale ~ LogNormal(√2 + ½ log d, √3), where d counts the features, or the lengthscales of
    a kernel that has several, and noise ~ LogNormal(−4, 1), as in BoTorch's defaults. Outputscale ~
    LogNormal(0, 1) and constant ~ N(0, 1) keep both near the standardised targets. A module that
    carries priors of its own keeps them.
    """
    for kernel in gp.kernel.modules():
        if not isinstance(kernel, Kernel) or hasattr(kernel, "lengthscale_prior"):
            continue
        if kernel.has_lengthscale:
            loc = math.sqrt(2.0) + 0.5 * math.log(_dimension(kernel, layout))
            prior = LogNormalPrior(loc, math.sqrt(3.0))
            kernel.register_prior("lengthscale_prior", prior, "lengthscale")
    for kernel in gp.kernel.modules():
        if isinstance(kernel, ScaleKernel) and not hasattr(kernel, "outputscale_prior"):
            kernel.register_prior("outputscale_prior", LogNormalPrior(0.0, 1.0), "outputscale")
    noise = gp.likelihood.noise_covar
    noise.register_prior("noise_prior", LogNormalPrior(-4.0, 1.0), "noise")
    gp.mean.register_prior("mean_prior", NormalPrior(0.0, 1.0), "constant")
    gp.to(gp.noise)


def no_priors(gp: ExactGP, layout: Layout) -> None:
    """Leave what the kernel's own modules carry."""


PRIORS: Registry[Callable[[ExactGP, Layout], None]] = Registry(
    "prior", "priors", {"none": no_priors, "dimension_scaled": dimension_scaled}
)


def _dimension(kernel: Kernel, layout: Layout) -> int:
    lengthscales = int(kernel.lengthscale.shape[-1])
    if lengthscales > 1 or isinstance(kernel, SlotMatern):
        return lengthscales
    return layout.size if kernel.active_dims is None else len(kernel.active_dims)


def _dims(layout: Layout, slots: Sequence[str]) -> list[int] | None:
    """Positions of the features of some slots; None for all."""
    return [d for _, dims in layout.only(slots) for d in dims] if slots else None


def _own(slot: Slot, dims: Sequence[int]) -> Kernel:
    """Matérn-5/2 of one slot."""
    return SlotMatern([slot], dims)
