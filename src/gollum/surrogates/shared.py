"""Several outcomes in one language model: a projection and a process for each, likelihoods summed.

What lies below projections and scaling is trained by all outcomes together and read once for all of
them; each has its own of what lies above, and its own hyperparameters. The loss is that of all
results together, −Σ L_k / Σ n_k, so that an outcome counts by the number of its results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.data.pool import Pool
from gollum.runtime import seeded
from gollum.surrogates.base import FitReport, Fitted, Rows, Standardised
from gollum.surrogates.fit import fit_joint
from gollum.surrogates.gaussian_process import DeepKernelGP, GaussianProcess, sources_of
from gollum.surrogates.gp import ExactGP
from gollum.surrogates.kernels import KernelFactory

Results = tuple[Sequence[str], NDArray[np.float64]]  # n ids and their n utilities


class Common(nn.Module):
    """A representation that several others are made of, which it serves with one pass."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.source = source
        self.layout, self.notes, self.revision = source.layout, source.notes, source.revision
        self._held: tuple[Rows, Tensor] | None = None
        self._to_reset = True

    @contextmanager
    def read(self, rows: Rows) -> Iterator[None]:
        """Read n rows; what is asked for meanwhile has to be among them."""
        self._held = rows, self.source(rows)
        try:
            yield
        finally:
            self._held = None

    def renew(self) -> None:
        """Whoever resets it first does."""
        self._to_reset = True

    def reset(self) -> None:
        """Fresh weights, once for all."""
        if self._to_reset:
            self.source.reset()
        self._to_reset = False

    def freeze(self, frozen: bool) -> bool:
        """As the source does."""
        differs: bool = self.source.freeze(frozen)
        return differs

    def forward(self, rows: Rows) -> Tensor:
        """Features n x d of n rows."""
        if self._held is None:
            read: Tensor = self.source(rows)
            return read
        held, features = self._held
        if np.array_equal(held, rows):
            return features
        order = np.argsort(held, kind="stable")
        return features[torch.as_tensor(order[np.searchsorted(held, rows, sorter=order)])]

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Features m x d of other rows."""
        encoded: Tensor = self.source.encode(table)
        return encoded


class Heads(nn.Module):
    """Copies of a representation, one per outcome, which have what is below projections in common.

    Args:
        representation: what is copied.
        count: how many.
    """

    def __init__(self, representation: Any, count: int) -> None:
        super().__init__()
        below = {id(source): Common(source) for source in sources_of(representation)}
        self.common: list[Any] = list(below.values())
        self.each: Any = nn.ModuleList(deepcopy(representation, dict(below)) for _ in range(count))

    @contextmanager
    def read(self, rows: Rows) -> Iterator[None]:
        """As `Common.read`, of all that is in common."""
        with ExitStack() as stack:
            for common in self.common:
                stack.enter_context(common.read(rows))
            yield

    def reset(self) -> None:
        """Fresh weights: of what is in common, then of each."""
        for common in self.common:
            common.renew()
        for head in self.each:
            head.reset()

    def freeze(self, frozen: bool) -> bool:
        """Freeze what can be; whether any differs."""
        differs = [common.freeze(frozen) for common in self.common]
        return any(differs)


class Processes(nn.Module):
    """The processes of all outcomes, which `fit_joint` starts over together."""

    def __init__(self, each: Sequence[ExactGP]) -> None:
        super().__init__()
        self.each: Any = nn.ModuleList(each)

    def reset(self) -> None:
        """Every hyperparameter back to where it started."""
        for process in self.each:
            process.reset()

    def hyperparameters(self) -> dict[str, float]:
        """None that all would share."""
        return {}


class SeveralKernelGPs(nn.Module):
    """A `DeepKernelGP` for each outcome on `Heads`, with the loss that trains them all."""

    def __init__(
        self,
        representation: Any,
        count: int,
        noise_floor: float,
        device: torch.device | None,
        kernel: str | KernelFactory,
    ) -> None:
        super().__init__()
        self.representation = Heads(representation, count)
        heads = self.representation.each
        made = [DeepKernelGP(head, noise_floor, device, kernel) for head in heads]
        self.each: Any = nn.ModuleList(made)
        self.gp = Processes([model.gp for model in made])

    def loss(self, rows: Sequence[Rows], targets: Sequence[Tensor]) -> Tensor:
        """−Σ (L_k + log prior_k) / Σ n_k, for the n_k rows and targets of each outcome k."""
        total = sum(len(known) for known in targets)
        with self.representation.read(np.concatenate(rows)):
            parts = [
                len(known) / total * model.loss(places, known)
                for model, places, known in zip(self.each, rows, targets, strict=True)
            ]
        return torch.stack(parts).sum()

    def features(self, rows: Rows) -> list[Tensor]:
        """What each kernel sees of n rows: n x d each."""
        with self.representation.read(rows):
            return [model.features(rows) for model in self.each]


def fit_together(
    surrogate: GaussianProcess, results: Sequence[Results], seed: Sequence[int]
) -> list[Fitted]:
    """Fit one language model to the results of several outcomes.

    A result that is missing, or not-a-number, is missing for its outcome alone.

    Args:
        surrogate: whose representation has something to train below its projections.
        results: of each outcome.
        seed: names the random stream.

    Returns:
        A model for each outcome.

    Raises:
        DataError: an outcome has no result.
        FitError: the fit failed, also after retries.
    """
    settings, device = surrogate.settings, surrogate.runtime.device
    observed = [Standardised.of(surrogate.pool, *known, device) for known in results]
    model: Any = SeveralKernelGPs(
        surrogate.representation, len(observed), settings.noise_floor, device, surrogate.kernel
    )
    rows: Any = [one.rows for one in observed]
    targets: Any = [one.targets for one in observed]
    with seeded(*seed):
        model.representation.reset()
        report = fit_joint(model, rows, targets, settings.optimizer)
    model.eval()
    features = surrogate.pool_features(model.features)
    return [
        surrogate.given(each, one, found, _own(report, each))
        for each, one, found in zip(model.each, observed, features, strict=True)
    ]


def _own(report: FitReport, model: DeepKernelGP) -> FitReport:
    """The report of all outcomes with the hyperparameters of one."""
    return replace(report, hyperparameters=model.gp.hyperparameters())


@dataclass(frozen=True, eq=False)
class Alongside:
    """A surrogate of one outcome whose language model learns others at the same time.

    Where experiments are left out, their results of all outcomes are.

    Attributes:
        surrogate: what is fitted.
        ids: all experiments with a result of the outcome.
        others: results of the other outcomes.
    """

    surrogate: GaussianProcess
    ids: Sequence[str]
    others: tuple[Results, ...]

    @property
    def pool(self) -> Pool:
        """The candidates."""
        return self.surrogate.pool

    @property
    def notes(self) -> tuple[str, ...]:
        """What the surrogate has to tell."""
        return self.surrogate.notes

    @property
    def revision(self) -> str:
        """Hash of the language model's weights."""
        return self.surrogate.revision

    def fit(self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]) -> Fitted:
        """Fit to these results and to what the others have of experiments that stay."""
        gone = set(self.ids) - set(ids)
        rest = [(ids, utility)]
        for names, values in self.others:
            stay = np.array([name not in gone for name in names]) & np.isfinite(values)
            if stay.any():
                rest.append(
                    ([n for n, kept in zip(names, stay, strict=True) if kept], values[stay])
                )
        return fit_together(self.surrogate, rest, seed)[0]
