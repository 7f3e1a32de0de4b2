"""Two other ways to learn from source tasks, to compare the usual one with (`sources`).

Pooled takes their results for the target's own. Ranked weighs a model of each task by how well it
ranks the target's results (Feurer, Letham and Bakshy, AutoML at ICML 2018, arXiv:1802.02219).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.errors import DataError
from gollum.features.related import together
from gollum.features.representations import Setup
from gollum.runtime import seeded
from gollum.surrogates.averaged import Averaged, FittedAverage
from gollum.surrogates.base import Fitted, OnRepresentation, Rows, Standardised
from gollum.surrogates.sources import DRAWN, MOST, STREAM, Make, Sources, sources_of

DRAWS = 256  # of the ranking, by which models are weighed
DILUTED = 0.95  # quantile of the target's ranking loss that half of a source's may not exceed


@dataclass(frozen=True, eq=False)
class Pooled(OnRepresentation):
    """One process for the target and all sources, as if they were the same task.

    Attributes:
        every: the process over candidates and, behind them, the rows of sources.
        values: S measured values of the sources.
    """

    every: Averaged
    values: NDArray[np.float64]

    @classmethod
    def of(cls, setup: Setup, make: Make) -> Pooled:
        """Candidates and sources in the columns that they have in common.

        Raises:
            DataError: a source has results of another outcome, or no column in common.
        """
        problem, sources = setup.problem, setup.problem.sources
        unlike = [source.name for source in sources if not source.comparable]
        if unlike:
            raise DataError(f"{unlike[0]}: results of another outcome can't be pooled with ours.")
        joined, _ = together(problem, sources)
        if joined.pool.table.empty and not joined.texts:
            raise DataError(f"{problem.pool.name}: the sources have no column in common with it.")
        features = make(replace(setup, problem=joined))
        every = Averaged(joined.pool, features, setup.settings, setup.runtime, drawn=DRAWN)
        values = np.concatenate([source.utility for source in sources])
        return cls(problem.pool, features, setup.settings, setup.runtime, every, values)

    def fit(self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]) -> Within:
        """Fit to the results of all tasks; see `Surrogate.fit`."""
        first, known = len(self.pool), np.isfinite(utility)
        kept = np.random.default_rng(STREAM).permutation(len(self.values))[:MOST]
        own = self.pool.positions(np.asarray(ids, dtype=object)[known])
        values = np.asarray(utility, dtype=np.float64)[known]
        rows = np.concatenate([own, first + np.sort(kept)])
        fitted = self.every.fit(
            [*self.every.pool.ids[rows]],
            np.concatenate([values, self.values[np.sort(kept)]]),
            seed,
        )
        return Within(
            self.pool, own, torch.as_tensor(values), fitted.location, fitted.scale, fitted.report,
            fitted,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Within(Fitted):
    """A model of more rows than a pool's candidates, which come first among them.

    Attributes:
        whole: that model.
    """

    whole: FittedAverage

    @property
    def noise(self) -> float:
        """As of the whole."""
        return self.whole.noise

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """As of the whole; m and m."""
        return self.whole.standardised(rows)

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """As of the whole; n x m."""
        return self.whole.covariance(a, b)

    def encoded(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """As of the whole; m and m."""
        return self.whole.encoded(table)

    def weights(self) -> dict[str, float]:
        """As of the whole."""
        return self.whole.weights()

    def weight_intervals(self) -> dict[str, tuple[float, float]]:
        """As of the whole."""
        return self.whole.weight_intervals()


@dataclass(frozen=True, eq=False)
class Ranked(OnRepresentation):
    """Models of the target and of each source, weighed by how well they rank the results.

    Attributes:
        alone: the model of the target by itself.
        setup: candidates and sources.
        make: fixed features of a setup's candidates.
    """

    alone: Averaged
    setup: Setup
    make: Make

    @cached_property
    def heard(self) -> Sources:
        """Models of the sources, fitted once."""
        return sources_of(self.setup, self.make)

    @property
    def unaided(self) -> Averaged:
        """The target's alone."""
        return self.alone

    def fit(
        self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]
    ) -> Ensemble:
        """Fit the target's model and weigh it with those of the sources; see `Surrogate.fit`."""
        base = self.heard.base
        each = [k for k, of in enumerate(base) if of != k or base.count(k) == 1]
        models: list[FittedAverage] = [self.heard.models[k] for k in each]
        known = np.isfinite(utility)
        observed = Standardised.of(self.pool, ids, utility) if known.any() else None
        if observed is None:
            zero, one = torch.zeros(()).double(), torch.ones(()).double()
            rows = np.array([], dtype=np.int64)
            observed = Standardised(rows, torch.empty(0).double(), zero, one)
            weights = torch.full((len(models),), 1.0 / len(models)).double()
        else:
            target = self.alone.fit(ids, utility, seed)
            with seeded(*seed):
                weights = ranking_weights(models, target, observed)
            models = [*models, target]
        names = [*(self.heard.names[k] for k in each), "own results"]
        return Ensemble(
            self.pool, **observed.attributes(), report=models[-1].report, models=tuple(models),
            shares=weights, names=tuple(names),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Ensemble(Fitted):
    """Σ w_k f_k of independent models in standardised units.

    Attributes:
        models: K models, whose first rows are the candidates; the target's comes last if there is
            one.
        shares: w, K; together 1.
        names: of the models.
    """

    models: tuple[FittedAverage, ...]
    shares: Tensor
    names: tuple[str, ...]

    @property
    def noise(self) -> float:
        """That of the target's model."""
        return self.models[-1].noise

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Σ w_k mean_k and Σ w_k² variance_k; m and m."""
        return self._summed([model.standardised(rows) for model in self.models])

    def encoded(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """The same of rows outside the pool; m and m."""
        return self._summed([model.encoded(table) for model in self.models])

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """Σ w_k² covariance_k; n x m."""
        parts = [w**2 * m.covariance(a, b) for w, m in zip(self.shares, self.models, strict=True)]
        return torch.stack(parts).sum(0)

    def trust_in_sources(self) -> dict[str, tuple[float, float, float]]:
        """The weight of each source's model; it is no interval."""
        shares = zip(self.names, self.shares.tolist(), strict=False)
        return {name: (w, w, w) for name, w in shares if name != "own results"}

    def _summed(self, parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        mean = torch.stack([w * m for w, (m, _) in zip(self.shares, parts, strict=True)]).sum(0)
        rest = torch.stack([w**2 * v for w, (_, v) in zip(self.shares, parts, strict=True)]).sum(0)
        return mean, rest


def ranking_weights(
    sources: Sequence[FittedAverage], target: FittedAverage, observed: Standardised
) -> Tensor:
    """Share of draws in which each model ranks the observations best; K sources and the target.

    A model's draw ranks a pair of observations wrongly if it puts them in the other order. The
    target's model is asked for each observation as if it had not seen it. A source of which more
    than half of the draws are worse than most of the target's has no weight, so that many bad
    sources don't add up.
    """
    y, rows = observed.targets, observed.rows
    losses = []
    for model in sources:
        joint = model.covariance(rows, rows) + 1e-6 * torch.eye(len(rows)).double()
        root = torch.linalg.cholesky(joint)
        drawn = model.standardised(rows)[0] + torch.randn(DRAWS, len(rows)).double() @ root.T
        losses.append(_wrong(drawn, drawn, y))
    mean, variance = target.left_out()
    drawn = mean + variance.sqrt() * torch.randn(DRAWS, len(rows)).double()
    losses.append(_wrong(drawn, y.expand_as(drawn), y))
    found = torch.stack(losses).double()  # K + 1 x DRAWS
    worst = found[-1].quantile(DILUTED)
    diluting = (found.median(1).values > worst) & (torch.arange(len(found)) < len(found) - 1)
    found[diluting] = torch.inf
    best = (found == found.min(0).values).double()
    return (best / best.sum(0)).mean(1)


def _wrong(drawn: Tensor, others: Tensor, y: Tensor) -> Tensor:
    """How many pairs are in the other order, one of a pair drawn and the other given; DRAWS."""
    theirs = drawn.unsqueeze(2) < others.unsqueeze(1)
    return (theirs ^ (y.unsqueeze(1) < y)).sum((1, 2))
