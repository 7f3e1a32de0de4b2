"""What a surrogate promises: fitted to observations of some candidates, a posterior for all."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from botorch.models.model import Model
from linear_operator.utils.cholesky import psd_safe_cholesky
from numpy.typing import NDArray
from torch import Tensor

from gollum.data.extents import Extents
from gollum.data.pool import Pool, refuse_slips
from gollum.errors import DataError, UserError
from gollum.features.base import FixedFeatures
from gollum.features.layout import Layout
from gollum.features.representations import Representation, Setup
from gollum.runtime import Runtime
from gollum.settings import Settings

Rows = NDArray[np.int64]

SMALLEST_VARIANCE = 1e-10
PAIRS = 512  # of candidates, by which slots are weighed


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        strategy: how it was fitted: 'joint', 'lbfgs', or a word of the surrogate's own.
        losses: −L/n at every evaluation, in order; less the log prior over n where there is one.
        loss: the same at the parameters that were kept.
        hyperparameters: final lengthscale, outputscale, noise and constant mean.
        seconds: wall-clock time.
        notes: retries and other things a user should know, one sentence each.
    """

    strategy: str
    losses: tuple[float, ...] = ()
    loss: float = float("nan")
    hyperparameters: dict[str, float] | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def evaluations(self) -> int:
        """How often the loss was computed."""
        return len(self.losses)


class Surrogate(Protocol):
    """A model of the objective over the candidates of one pool.

    Attributes:
        pool: the candidates.
        notes: what a user should know before it is fitted, one sentence each.
        revision: hash of the language model's weights, or which version of what; may be empty.
    """

    @property
    def pool(self) -> Pool: ...  # noqa: D102 (attributes of the class)
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def revision(self) -> str: ...  # noqa: D102

    def fit(self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]) -> Fitted:
        """Fit to measurements, as a function of these arguments and nothing else.

        Args:
            ids: n measured candidates; an id may repeat (replicates).
            utility: n measured values, larger is better; rows with NaN are left out.
            seed: numbers that name the random stream, such as (seed, iteration).

        Raises:
            DataError: nothing was measured.
            FitError: the fit failed.
        """
        ...


SurrogateFactory = Callable[[Setup], Surrogate]


def fit_to(
    surrogate: Surrogate,
    ids: Sequence[str],
    utility: NDArray[np.float64],
    seed: Sequence[int],
    extents: Extents | None = None,
) -> Fitted:
    """Fit to results, some of which may be no plain number.

    A surrogate that has `takes_extents` is told what is known of these; for others they are the
    numbers that they count as.
    """
    if extents is None or not getattr(surrogate, "takes_extents", False):
        return surrogate.fit(ids, utility, seed)
    taking: Any = surrogate
    fitted: Fitted = taking.fit(ids, utility, seed, extents)
    return fitted


@dataclass(frozen=True, eq=False)
class Fitted(ABC):
    """A fitted surrogate: the one thing that acquisition, campaigns, reports and benchmarks ask.

    A model that is no Gaussian process needs `standardised`, `covariance` and `noise`, all of the
    standardised utility (utility − location) / scale; the rest follows from these.

    Attributes:
        pool: the candidates.
        rows: n measured rows.
        utility: n measured values, larger is better.
        location: mean of those values.
        scale: their unbiased standard deviation (1 when it is 0 or undefined).
        report: what the fit did.
        recipe: how it was made, where it can be kept in a file; see `gollum.fit`.
    """

    pool: Pool
    rows: Rows
    utility: Tensor
    location: Tensor
    scale: Tensor
    report: FitReport
    recipe: Any = field(default=None, kw_only=True, repr=False)

    @abstractmethod
    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance, without noise, of m rows; m and m."""

    @abstractmethod
    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """Posterior covariance, without noise, of n and m rows; n x m."""

    @property
    @abstractmethod
    def noise(self) -> float:
        """Variance of a measurement around the true value."""

    def found(self) -> dict[str, Tensor]:
        """What the fit found, by name; empty where it can't be kept."""
        return {}

    def save(self, file: str | Path) -> Path:
        """Keep it in a file, for `gollum.load_fitted`: safetensors, which hold no code.

        What was found is kept, with the table and the keys; of a language model adapters and
        projection only, and the hash of its weights.

        Args:
            file: an earlier one is replaced.

        Raises:
            UserError: it was not made by `gollum.fit` with a surrogate that has a name, or the
                file can't be written.
        """
        if self.recipe is None or not (found := self.found()):
            raise UserError(
                "only what gollum.fit has fitted can be saved, of surrogates that are known by "
                "name and are Gaussian processes of this package."
            )
        kept: Path = self.recipe.save(self, found, Path(file))
        return kept

    def _repr_html_(self) -> str:
        """What was fitted to what, for notebooks."""
        mean, deviation = self.location.item(), self.scale.item()
        mean *= -1.0 if self.pool.direction == "minimize" else 1.0  # utilities have another sign
        lines = [
            f"{len(self.rows)} results of {len(self.pool)} experiments, {self.pool.objective}: "
            f"mean {mean:.4g}, standard deviation {deviation:.4g}",
            f"noise {deviation * self.noise**0.5:.3g}, {self.report.strategy} fit of "
            f"{self.report.evaluations} evaluations, loss {self.report.loss:.4g}",
        ]
        weights = sorted(self.weights().items(), key=lambda pair: -pair[1])[:8]
        if weights:
            lines.append("what counts: " + ", ".join(f"{k} {100 * w:.0f} %" for k, w in weights))
        title = escape(f"{type(self).__name__} of {self.pool.name}")
        return f"<p><b>{title}</b><br>{'<br>'.join(map(escape, lines))}</p>"

    def encoded(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance, without noise, of m rows outside the pool; m and m.

        Raises:
            DataError: this surrogate can't read other rows.
        """
        name = type(self).__name__
        raise DataError(f"{name} predicts the candidates of its pool only; add the rows to it.")

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows | None = None) -> Fitted:
        """The same model over some rows of its pool, followed by others; nothing is fitted anew.

        Args:
            rows: r positions in the pool, those of the measured candidates among them.
            table: m further rows with the pool's columns; the index holds their ids.
            like: m positions of candidates from which these differ in numbers only, for a quick
                look: words of whole rows are then as theirs.

        Raises:
            DataError: this surrogate can't read other rows.
        """
        name = type(self).__name__
        raise DataError(f"{name} predicts the candidates of its pool only.")

    def posterior(self, where: Sequence[str] | pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the noise-free utility, in its unit.

        The utility is the objective, or minus it where that is minimized.

        Args:
            where: m ids of candidates, or a table of m rows with the pool's columns.

        Returns:
            m and m.

        Raises:
            DataError: there is no such candidate, or the rows can't be read: a column is missing, a
                cell blank, or a name spelt otherwise than in the pool.
        """
        if isinstance(where, pd.DataFrame) and len(where) == 0:
            where = []
        if isinstance(where, pd.DataFrame):
            refuse_slips(self.pool, where)
            mean, variance = self.encoded(where)
            return self.location + self.scale * mean, self.scale.square() * variance
        return self.marginals(self.pool.positions(where))

    def _beyond(self, rows: Rows, table: pd.DataFrame) -> dict[str, Any]:
        """What any model has other than before `over` these rows, by name."""
        known = self.pool.table
        joined = pd.concat([known.iloc[rows], table[known.columns]])
        values = np.concatenate([self.pool.values[rows], np.full(len(table), np.nan)])
        pool = replace(self.pool, table=joined, values=values)
        return {"pool": pool, "rows": pool.positions(self.pool.ids[self.rows])}

    def marginals(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the noise-free utility at m rows; m and m."""
        mean, variance = self.standardised(rows)
        return self.location + self.scale * mean, self.scale.square() * variance

    def similarity(self, a: Rows, b: Rows) -> Tensor:
        """How alike the model takes experiments for, from 0 to 1; n x m.

        By default the correlation of what it predicts of them.
        """
        deviations = [self.standardised(rows)[1].sqrt() for rows in (a, b)]
        scale = deviations[0].unsqueeze(1) * deviations[1]
        return (self.covariance(a, b) / scale).clamp(0.0, 1.0)

    def beside(self, rows: Rows) -> Callable[[Rows], tuple[Tensor, Tensor, Tensor]]:
        """What tells mean, variance (m) and covariance with n rows (n x m) of m others."""
        return lambda others: (*self.standardised(others), self.covariance(rows, others))

    @property
    def rough(self) -> Fitted:
        """One that tells cheaply which of many candidates deserve a look; itself by default."""
        return self

    def left_out(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each measurement, given all others and the same hyperparameters.

        With C the posterior covariance of the n measured points, (K + σ²I)⁻¹ = (I − C/σ²)/σ², so
        that the formulas for leaving one out (Rasmussen & Williams 2006, eq. 5.12) need only
        marginals: 1 − C_ii/σ² is the share that a measurement has not in its own prediction.

        Returns:
            n and n, of the standardised utility, noise included.
        """
        mean, variance = self.standardised(self.rows)
        return without_itself(mean, variance, (self.utility - self.location) / self.scale,
                               torch.as_tensor(self.noise).to(mean))  # fmt: skip

    def condition(self, ids: Sequence[str], utility: Tensor) -> Fitted:
        """The same model with more observations (m ids, m values), nothing fitted anew."""
        added, utility = self.pool.positions(ids), torch.as_tensor(utility).to(self.utility)
        values = (utility - self.location) / self.scale
        return Updated(
            self.pool,
            np.concatenate([self.rows, added]),
            torch.cat([self.utility, utility]),
            self.location,
            self.scale,
            self.report,
            self,
            added,
            values,
        )

    def weights(self) -> dict[str, float]:
        """How much each slot tells experiments apart; together 1, and empty without slots."""
        return {}

    def weight_intervals(self) -> dict[str, tuple[float, float]]:
        """Where 90 % of what the weights may be lies; empty where they are not averaged over."""
        return {}

    def trust_in_sources(self) -> dict[str, tuple[float, float, float]]:
        """How much what each source of earlier results says counts; empty without any.

        Returns:
            Mean weight of each, 1 as it stands and 0 not at all, and where 90 % of what it may be
            lies.
        """
        return {}

    @property
    def unitless(self) -> bool:
        """Whether nothing tells the level and unit of the utility, so that only its order counts.

        As before the first result, where sources tell of another outcome.
        """
        return False

    def inherited(self, rows: Rows) -> Tensor | None:
        """Utility at m rows that earlier results alone let expect; m, or None without any."""
        return None

    def latent(self, rows: Rows) -> Tensor | None:
        """Features n x d, as the kernel sees them, of n rows; None where there is no one space."""
        return None

    def latent_distance_ratio(self) -> float:
        """Lengthscale over mean pairwise distance of features; not-a-number without features."""
        return float("nan")

    def to_botorch(self) -> Model:
        """A BoTorch model, in units of utility.

        By default its inputs are positions of candidates, b x q x 1.
        """
        from gollum.surrogates.positions import PositionModel

        return PositionModel(self)

    @cached_property
    def model(self) -> Model:
        """As `to_botorch`, made once."""
        return self.to_botorch()


def without_itself(
    mean: Tensor, variance: Tensor, targets: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Leave-one-out means and variances from posterior ones at the measured points."""
    rest = (1.0 - variance / noise).clamp_min(1e-6)
    return targets - (targets - mean) / rest, noise / rest


@dataclass(frozen=True, eq=False)
class Updated(Fitted):
    """A fitted model with further observations, by the rules of joint normal distributions.

    Attributes:
        before: the model without them.
        added: m further rows.
        values: m standardised values there.
    """

    before: Fitted
    added: Rows
    values: Tensor

    @property
    def noise(self) -> float:
        """As before."""
        return self.before.noise

    @cached_property
    def _root(self) -> Tensor:
        """L with LLᵀ = C(A, A) + σ²I."""
        joint = self.before.covariance(self.added, self.added)
        root: Tensor = psd_safe_cholesky(joint + self.noise * torch.eye(len(joint)).to(joint))
        return root

    def _solved(self, rows: Rows) -> Tensor:
        """L⁻¹ C(A, ·), m x n."""
        cross = self.before.covariance(self.added, rows)
        solved: Tensor = torch.linalg.solve_triangular(self._root, cross, upper=False)
        return solved

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean + C(·, A)(C(A, A) + σ²I)⁻¹(values − mean(A)), and the variance that is left."""
        mean, variance = self.before.standardised(rows)
        surprise = (self.values - self.before.standardised(self.added)[0]).unsqueeze(-1)
        v = self._solved(rows)
        whitened = torch.linalg.solve_triangular(self._root, surprise, upper=False)
        rest = (variance - v.square().sum(0)).clamp_min(SMALLEST_VARIANCE)
        return mean + (whitened.T @ v).squeeze(0), rest

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """What the observations leave of the covariance; n x m."""
        return self.before.covariance(a, b) - self._solved(a).T @ self._solved(b)

    def similarity(self, a: Rows, b: Rows) -> Tensor:
        """As before."""
        return self.before.similarity(a, b)

    def weights(self) -> dict[str, float]:
        """As before."""
        return self.before.weights()

    def weight_intervals(self) -> dict[str, tuple[float, float]]:
        """As before."""
        return self.before.weight_intervals()


@dataclass(frozen=True, eq=False)
class OnRepresentation:
    """What surrogates on a representation of the rows of one pool have in common.

    Attributes:
        pool: the candidates.
        representation: features of its rows.
        settings: every number.
        runtime: where it runs.
    """

    pool: Pool
    representation: Representation
    settings: Settings
    runtime: Runtime

    @property
    def notes(self) -> tuple[str, ...]:
        """What the representation has to tell."""
        return self.representation.notes

    @property
    def revision(self) -> str:
        """Hash of the language model's weights; empty without one."""
        return self.representation.revision

    def refuse_not_finite(self) -> None:
        """Refuse fixed features that are no numbers, before anything is fitted to them.

        Raises:
            DataError: with candidate, column and representation.
        """
        if isinstance(self.representation, FixedFeatures):
            self.representation.refuse_not_finite(self.pool)


def slot_weights(
    layout: Layout,
    count: int,
    features: Callable[[Rows], Tensor],
    correlation: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, float]:
    """How much each slot tells experiments apart; together 1.

    By how much the correlation of an experiment with itself falls, on average over `PAIRS` of
    candidates, when the slot's features alone are those of another one.

    Args:
        layout: the slots.
        count: number of candidates.
        features: features n x d of n rows.
        correlation: of n experiments with n changed ones, n x d each; n.
    """
    rng = np.random.default_rng(0)
    own, other = (features(rng.integers(count, size=PAIRS)) for _ in range(2))
    falls = {}
    for slot, dims in layout.only():
        changed = own.clone()
        changed[:, dims] = other[:, dims]
        falls[slot.name] = (1.0 - correlation(own, changed)).mean().item()
    total = sum(falls.values())
    return {name: fall / total if total > 0 else 0.0 for name, fall in falls.items()}


@dataclass(frozen=True)
class Standardised:
    """Observations as a fit takes them.

    Attributes:
        rows: n measured rows.
        utility: n values.
        location: their mean.
        scale: their unbiased standard deviation, or 1.
    """

    rows: Rows
    utility: Tensor
    location: Tensor
    scale: Tensor

    @classmethod
    def of(
        cls,
        pool: Pool,
        ids: Sequence[str],
        utility: NDArray[np.float64],
        device: torch.device | None = None,
    ) -> Standardised:
        """Those of n ids that have a value.

        Raises:
            DataError: none has.
        """
        known = np.isfinite(utility)
        if not known.any():
            raise DataError(f"{pool.name}: there is no measured value to fit a model to.")
        y = torch.as_tensor(utility[known], dtype=torch.float64, device=device)
        return cls(pool.positions(ids)[known], y, y.mean(), standard_deviation(y))

    @property
    def targets(self) -> Tensor:
        """(utility − location) / scale; n."""
        return (self.utility - self.location) / self.scale

    def attributes(self) -> dict[str, Any]:
        """What every `Fitted` has of them, by name."""
        return {name: getattr(self, name) for name in ("rows", "utility", "location", "scale")}


def standard_deviation(y: Tensor) -> Tensor:
    """Unbiased standard deviation of n values; 1 for a single or a constant value."""
    if len(y) < 2:
        return torch.ones_like(y[0])
    deviation = y.std()
    constant = deviation <= 1e-10 * y.abs().max()
    return torch.where(constant, torch.ones_like(deviation), deviation)


def break_ties(ids: Sequence[str], seed: Sequence[int]) -> list[str]:
    """Ids in an order that depends on the seed and the ids alone, never on their order."""
    salt = ":".join(map(str, seed))
    return sorted(ids, key=lambda i: hashlib.sha256(f"{salt}:{i}".encode()).digest())
