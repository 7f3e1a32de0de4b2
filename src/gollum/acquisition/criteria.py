"""Acquisition criteria by name, each BoTorch's own.

A criterion is made from a model of one point at a time and the value to improve on. It has to grow
with the variance at a given mean, and to fall when that value rises, so that a candidate's value
never rises while a batch is built.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from gollum.registry import Registry

if TYPE_CHECKING:
    from botorch.acquisition import AcquisitionFunction
    from botorch.models.model import Model
    from torch import Tensor

UCB_BETA = 4.0  # two posterior standard deviations

Criterion = Callable[["Model", "Tensor"], "AcquisitionFunction"]
CRITERIA: Registry[Criterion] = Registry("acquisition", "criteria")


@CRITERIA.register("log_ei", towards_target=True, within_limits=True)
def log_ei(model: Model, best_f: Tensor) -> AcquisitionFunction:
    """Logarithm of the expected improvement (Ament et al. 2023)."""
    from botorch.acquisition import LogExpectedImprovement

    return LogExpectedImprovement(model, best_f)


@CRITERIA.register("ei")
def ei(model: Model, best_f: Tensor) -> AcquisitionFunction:
    """Expected improvement (Jones et al. 1998)."""
    from botorch.acquisition import ExpectedImprovement
    from botorch.exceptions.warnings import NumericsWarning

    with warnings.catch_warnings():
        # BoTorch advises log-EI; the paper's protocol is EI, and log_ei is one key away.
        warnings.simplefilter("ignore", NumericsWarning)
        return ExpectedImprovement(model, best_f)


@CRITERIA.register("ucb")
def ucb(model: Model, best_f: Tensor) -> AcquisitionFunction:
    """Upper confidence bound."""
    from botorch.acquisition import UpperConfidenceBound

    return UpperConfidenceBound(model, beta=UCB_BETA)


@CRITERIA.register("q_log_ei", towards_target=True, within_limits=True, joint=True)
def q_log_ei(model: Model, best_f: Tensor) -> AcquisitionFunction:
    """As `log_ei` for the first of a batch, which is then chosen for what it brings as a whole."""
    return log_ei(model, best_f)
