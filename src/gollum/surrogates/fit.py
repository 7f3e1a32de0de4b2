"""Fitting by the marginal likelihood: jointly with AdamW, or the process alone with L-BFGS."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from botorch.optim.closures.core import ForwardBackwardClosure
from botorch.optim.core import OptimizationStatus, scipy_minimize
from botorch.optim.stopping import ExpMAStoppingCriterion
from numpy.typing import NDArray
from torch import Tensor

from gollum.errors import FitError
from gollum.settings import LbfgsSettings, OptimizerSettings
from gollum.surrogates.base import FitReport

if TYPE_CHECKING:
    from gollum.surrogates.gaussian_process import DeepKernelGP

RESTARTS = 3


def fit_joint(
    model: DeepKernelGP, rows: NDArray[np.int64], targets: Tensor, settings: OptimizerSettings
) -> FitReport:
    """Train features and hyperparameters together by AdamW with a decaying learning rate.

    Stops, before stepping, when BoTorch's ExpMAStoppingCriterion fires. With `fine_tuning`, a first
    descent trains all but the adapters on the vectors of the pretrained model, where an evaluation
    costs next to nothing, and a second one everything. A descent that leaves the finite numbers is
    followed by up to three from other weights with smaller steps; the report says so.

    Args:
        model: freshly reset; trained in place and left in eval mode.
        rows: n measured rows.
        targets: n standardised objective values.
        settings: optimiser and stopping rule.

    Raises:
        FitError: no descent kept the loss finite.
    """
    start = time.perf_counter()
    notes: list[str] = []
    for _ in range(1 + RESTARTS):
        try:
            losses = _staged(model, rows, targets, settings)
            seconds = time.perf_counter() - start
            hyperparameters = model.gp.hyperparameters()
            return FitReport(
                "joint", tuple(losses), losses[-1], hyperparameters, seconds, tuple(notes)
            )
        except FitError as error:
            notes.append(f"The joint fit failed and was begun anew with smaller steps: {error}")
            reason = str(error)
            rates = {"lr_model": settings.lr_model / 4, "lr_gp": settings.lr_gp / 4}
            settings = settings.model_copy(update=rates)
            model.representation.reset()
            model.gp.reset()
    raise FitError(f"the joint fit failed, also with smaller steps: {reason}")


def _staged(
    model: DeepKernelGP, rows: NDArray[np.int64], targets: Tensor, settings: OptimizerSettings
) -> list[float]:
    """Losses of the descent, or of both of them."""
    staged = settings.fine_tuning is not None and model.representation.freeze(True)
    try:
        losses = _descend(model, rows, targets, settings, settings.max_evaluations)
    finally:
        model.representation.freeze(False)
    if staged:
        losses += _descend(model, rows, targets, settings, settings.fine_tuning or 0)
    return losses


def _descend(
    model: DeepKernelGP,
    rows: NDArray[np.int64],
    targets: Tensor,
    settings: OptimizerSettings,
    max_evaluations: int,
) -> list[float]:
    """Losses at every evaluation of one descent."""
    optimizer = torch.optim.AdamW(
        [
            {"params": list(model.representation.parameters()), "lr": settings.lr_model},
            {"params": list(model.gp.parameters()), "lr": settings.lr_gp},
        ],
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, settings.decay)
    stop = ExpMAStoppingCriterion(
        maxiter=max_evaluations,
        n_window=settings.window,
        eta=settings.eta,
        rel_tol=settings.rel_tol,
    )
    model.train()
    losses: list[float] = []
    while True:
        optimizer.zero_grad()
        loss = model.loss(rows, targets)
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise FitError(f"the loss became {losses[-1]} at evaluation {len(losses)}.")
        if stop(torch.tensor(losses[-1], dtype=loss.dtype)):
            break
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return losses


def fit_lbfgs(
    model: DeepKernelGP, rows: NDArray[np.int64], targets: Tensor, settings: LbfgsSettings
) -> FitReport:
    """Fit the hyperparameters on fixed features by L-BFGS-B (BoTorch's wrapper of SciPy's).

    A start that fails is followed by up to three random ones; the report says so.

    Args:
        model: freshly reset; trained in place and left in eval mode.
        rows: n measured rows.
        targets: n standardised objective values.
        settings: limits and priors.

    Raises:
        FitError: no start led to a finite loss.
    """
    start = time.perf_counter()
    notes: list[str] = []
    with torch.no_grad():
        features = model.features(rows)
    for attempt in range(1 + RESTARTS):
        try:
            losses, loss = _lbfgs(model, features, targets, settings, notes)
            seconds = time.perf_counter() - start
            hyperparameters = model.gp.hyperparameters()
            return FitReport("lbfgs", losses, loss, hyperparameters, seconds, tuple(notes))
        except FitError as error:
            notes.append(f"L-BFGS start {attempt + 1} failed: {error}")
            _randomise(model)
    raise FitError("the Gaussian process could not be fitted: " + " ".join(notes))


def _lbfgs(
    model: DeepKernelGP,
    features: Tensor,
    targets: Tensor,
    settings: LbfgsSettings,
    notes: list[str],
) -> tuple[tuple[float, ...], float]:
    model.train()
    losses: list[float] = []

    def loss() -> Tensor:
        value = -model.gp.log_marginal_likelihood(features, targets) / len(targets)
        value = value - model.gp.log_prior() / len(targets)
        losses.append(value.item())
        return value

    if settings.max_iterations == 0:  # where it would start
        value = loss().item()
        model.eval()
        return (value,), value
    parameters = dict(model.gp.named_parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result = scipy_minimize(
            ForwardBackwardClosure(loss, parameters),
            parameters,
            bounds={name: (-20.0, 200.0) for name in parameters if _constrained(model, name)},
            options={"maxiter": settings.max_iterations},
        )
    model.eval()
    if not np.isfinite(result.fval):
        raise FitError(f"the loss became {result.fval}.")
    if result.status != OptimizationStatus.SUCCESS:
        notes.append(f"L-BFGS ended without convergence ({result.message}).")
    return tuple(losses), float(result.fval)


def _constrained(model: DeepKernelGP, name: str) -> bool:
    """Whether an unconstrained value stands for a constrained one."""
    return model.gp.constraint_for_parameter_name(name) is not None


@torch.no_grad()
def _randomise(model: DeepKernelGP) -> None:
    for parameter in model.gp.parameters():
        parameter.normal_()
