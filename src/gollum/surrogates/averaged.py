"""A Gaussian process averaged over its hyperparameters, which are drawn rather than fitted.

f = μ + Matérn of Σ_s w_s d_s² + Σ_c Matérn of Σ_{s in c} w_s d_s² (each with a scale of its own),
where d_s is the distance in slot s, Euclidean over the slot's spread or from Tanimoto's similarity
of bits, and c is a component: a column with all its slots. So each column and representation has a
weight, and what a component does by itself adds up.

The posterior of θ = (log w, log scales, log noise, μ) is drawn by sequential Monte Carlo: particles
of the prior go to the posterior in steps of the likelihood's power, with resampling and random-walk
moves (Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 2006, 68, 411; steps by the effective sample
size). A fit depends on the measurements and the seed alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.data.extents import Extents
from gollum.errors import DataError, FitError
from gollum.features.base import FixedFeatures
from gollum.features.components import Distances, Points
from gollum.features.layout import Layout
from gollum.runtime import seeded
from gollum.settings import AveragingSettings
from gollum.surrogates.base import (
    SMALLEST_VARIANCE,
    FitReport,
    Fitted,
    OnRepresentation,
    Rows,
    Standardised,
    without_itself,
)
from gollum.surrogates.censored import Sites

if TYPE_CHECKING:
    from gollum.surrogates.sources import Sources

SCORED = 512  # rows scored at a time: what more of them need is not kept by malloc
IMPOSSIBLE = -1e10  # log likelihood of hyperparameters with which nothing can be factorised
JITTER = 1e-8
PAIRS = 512  # of candidates, by which slots are weighed
FEWEST = 6  # particles that are kept then
SITE_PASSES = 5  # of expectation propagation
INTERVAL = (0.05, 0.95)  # of particles, that is told


@dataclass(frozen=True, eq=False)
class SlotProcess:
    """The process and its prior, batched over P particles θ, P x (S + C + K + 3).

    Identity and numbers come first: their log weights are normal around −log of their number with
    deviation 1.5, those of what stands beside them around 2 less, so that it stays small until the
    data want it. Scales of components are large together, so that effects that add up are learned
    first. (From trials on development tasks, docs/lab-notes.md.)

    With source tasks f is Σ_k β_k m_k + β_1 e + what is described above: m_k is what they expect
    (together, and what each says beyond that), e what they leave open together, with their
    posterior covariance. A β that is drawn below 0 counts as 0: a source that misleads has no say.

    Attributes:
        layout: the S slots.
        groups: positions of the slots of each of C components.
        noise_floor: smallest noise variance.
        sources: what K source models say; None without any.
    """

    layout: Layout
    groups: tuple[tuple[int, ...], ...]
    noise_floor: float
    sources: Sources | None = None

    @property
    def components(self) -> list[str]:
        """What each component is called: its first column, or 'row' where it is a whole row."""
        slots = [self.layout.slots[group[0]] for group in self.groups]
        return [slot.columns[0] if len(slot.columns) == 1 else "row" for slot in slots]

    @cached_property
    def prior(self) -> tuple[Tensor, Tensor]:
        """Means and deviations of the independent normal priors of θ."""
        plain = [s.form in ("indicators", "number") for s in self.layout]
        plain = plain if any(plain) else [True] * len(plain)
        first, parts = math.log(sum(plain)), math.log(len(self.groups))
        means = [*(-first if p else -first - 2.0 for p in plain), 0.0]
        means += [-parts + (1.0 if any(plain[s] for s in group) else 0.0) for group in self.groups]
        deviations = [*[1.5] * len(plain), 0.7, *[1.0] * len(self.groups)]
        if count := self.heard:
            means += [0.7, *[0.0] * (count - 1)]
            deviations += [0.6, *[0.4] * (count - 1)]
        deviations += [1.2, 1.0 if self.heard else 0.5]
        return torch.tensor([*means, -4.0, 0.0]).double(), torch.tensor(deviations).double()

    def log_prior(self, theta: Tensor) -> Tensor:
        """Log density of the prior up to a constant; P."""
        means, deviations = self.prior
        return -0.5 * ((theta - means) / deviations).square().sum(-1)

    def scales(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights P x S, scale of the whole P, and scales of the components P x C.

        The more sources explain and count, the less there is left to learn: scales are e times
        smaller where they explain all of their own outcomes and count as they stand.
        """
        count = len(self.layout)
        whole, own = theta[:, count], theta[:, count + 1 : count + 1 + len(self.groups)]
        if self.sources is not None:
            learned = self.sources.explained * self.trust(theta)[:, 0].clamp_max(1.0)
            whole, own = whole - learned, own - learned.unsqueeze(1)
        return theta[:, :count].exp(), whole.exp(), own.exp()

    @property
    def heard(self) -> int:
        """K, the number of source models."""
        return 0 if self.sources is None else len(self.sources.names)

    def trust(self, theta: Tensor) -> Tensor:
        """β, how much what source models say counts; P x K."""
        return theta[:, theta.shape[1] - 2 - self.heard : -2].clamp_min(0.0)

    def mean(self, theta: Tensor, points: Points | None = None) -> Tensor:
        """Prior means at n points; P x n, or P x 1 where all are the same."""
        if points is None or points.expected is None:
            return theta[:, -1:]
        return theta[:, -1:] + self.trust(theta) @ points.expected.mean.T

    def distances(self, a: Points, b: Points) -> Distances:
        """Squared distances between points, with what source models leave open."""
        found = a.distances(b)
        if self.sources is None or a.expected is None or b.expected is None:
            return found
        left = self.sources.covariance(a.expected, b.expected)
        return replace(found, inherited=left)

    def noise(self, theta: Tensor) -> Tensor:
        """Noise variances; P."""
        return theta[:, -2].exp() + self.noise_floor

    def covariance(self, theta: Tensor, distances: Distances) -> Tensor:
        """Prior covariances P x n x m."""
        weights, whole, own = self.scales(theta)
        total, reach = torch.zeros(()).double(), torch.zeros(()).double()
        for c, (group, part) in enumerate(zip(self.groups, distances.parts, strict=True)):
            squared = torch.einsum("ps,snm->pnm", weights[:, list(group)], part)
            alone = own[:, c, None, None] * _matern(squared)
            total = total + distances.expanded(c, alone)
            reach = reach + distances.expanded(c, squared)
        return self._with_inherited(theta, distances, total + whole[:, None, None] * _matern(reach))

    def _with_inherited(self, theta: Tensor, distances: Distances, prior: Tensor) -> Tensor:
        if distances.inherited is None:
            return prior
        return prior + self.trust(theta)[:, 0, None, None].square() * distances.inherited

    def cross(self, theta: Tensor, distances: Distances) -> Tensor:
        """The same from many rows n to few m, where levels that rows share are summed up at once.

        Terms of components with levels are written between these, L x m, and one product with
        indicators of each row's levels hands them out and adds them.
        """
        weights, whole, own = self.scales(theta)
        both, rows = list[Tensor](), list[Tensor]()
        total, reach = torch.zeros(()).double(), torch.zeros(()).double()
        for c, (group, part) in enumerate(zip(self.groups, distances.parts, strict=True)):
            squared = torch.einsum("ps,snm->pnm", weights[:, list(group)], part)
            alone = own[:, c, None, None] * _matern(squared)
            alone, squared = (distances.columns(c, values) for values in (alone, squared))
            codes = distances.left[c]
            if codes is None:
                total, reach = total + alone, reach + squared
                continue
            held = torch.zeros(len(codes), part.shape[1]).double()
            rows.append(held.scatter_(1, codes.unsqueeze(1), 1.0))
            both.append(torch.cat([alone, squared], 2))
        if both:
            found = torch.cat(rows, 1) @ torch.cat(both, 1)
            half = found.shape[2] // 2
            total, reach = total + found[:, :, :half], reach + found[:, :, half:]
        r = reach.mul(5.0).sqrt_()
        value = torch.exp(-r)  # the steps of `_matern`, in fewer passes over the memory
        value.mul_(torch.addcmul(r + 1.0, r, r, value=1.0 / 3.0))
        prior = value.mul_(whole[:, None, None]).add_(total)
        return self._with_inherited(theta, distances, prior)

    def variance(self, theta: Tensor) -> Tensor:
        """Prior variances of f, what sources leave open aside; P."""
        _, whole, own = self.scales(theta)
        return whole + own.sum(1)

    def variance_at(self, theta: Tensor, points: Points) -> Tensor:
        """Prior variances of f at n points; P x n, or P x 1 where all are the same."""
        found = self.variance(theta).unsqueeze(1)
        if points.expected is None:
            return found
        return found + self.trust(theta)[:, :1].square() * points.expected.variance

    def falls(self, theta: Tensor, changes: Tensor) -> Tensor:
        """By how much the correlation of an experiment with itself falls when one slot changes.

        Args:
            theta: P particles.
            changes: squared distances S x k of k changes of each slot.

        Returns:
            The mean over the changes; P x S.
        """
        weights, whole, own = self.scales(theta)
        touched = torch.zeros(len(self.layout), dtype=torch.long)
        for c, group in enumerate(self.groups):
            touched[list(group)] = c
        lost = 1.0 - _matern(weights.unsqueeze(-1) * changes)
        share = (whole[:, None] + own[:, touched]) / self.variance(theta)[:, None]
        return share * lost.mean(-1)

    def factor(
        self, theta: Tensor, distances: Distances, variance: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cholesky factors of K + σ²I + diag(variance), P x n x n, and which particles have none.

        Args:
            theta: P particles.
            distances: between n observations.
            variance: of each of them beside the noise, n.
        """
        sigma = self.covariance(theta, distances)
        diagonal = self.noise(theta) + JITTER
        sigma = sigma + diagonal[:, None, None] * torch.eye(sigma.shape[-1]).to(sigma)
        if variance is not None:
            sigma = sigma + torch.diag(variance)
        factor, info = torch.linalg.cholesky_ex(sigma)
        return factor, info != 0

    def log_likelihood(
        self,
        theta: Tensor,
        distances: Distances,
        targets: Tensor,
        measured: Points | None = None,
        variance: Tensor | None = None,
    ) -> Tensor:
        """Log p(y | θ) of n targets, at points of which sources may tell; P."""
        factor, failed = self.factor(theta, distances, variance)
        residual = (targets - self.mean(theta, measured)).unsqueeze(-1)
        white = torch.linalg.solve_triangular(factor, residual, upper=False).squeeze(-1)
        half_log_det = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        value = -0.5 * white.square().sum(1) - half_log_det
        value = value - 0.5 * len(targets) * math.log(2.0 * math.pi)
        return torch.where(failed | ~value.isfinite(), torch.full_like(value, IMPOSSIBLE), value)


def _matern(squared: Tensor) -> Tensor:
    """Matérn-5/2 of squared distances: (1 + r + r²/3) exp(−r) with r² five times as large.

    `kernels.correlation` in place, as nothing here needs gradients.
    """
    r = squared.mul(5.0).clamp_min_(1e-30).sqrt_()
    value = torch.exp(-r)
    return value.mul_(r.square().div_(3.0).add_(r).add_(1.0))


@dataclass(frozen=True, eq=False)
class Averaged(OnRepresentation):
    """A process over the slots of fixed features, averaged over hyperparameters.

    Attributes:
        sources: what earlier results say of the candidates, made when it is first needed; None
            where there are none.
        drawn: observations beyond which hyperparameters are drawn given so many of them.
    """

    representation: FixedFeatures
    sources: Callable[[], Sources] | None = None
    drawn: int = 300
    takes_extents: ClassVar[bool] = True

    @cached_property
    def points(self) -> Points:
        """The candidates, by components, with what sources say of them in their unit."""
        found = Points.of(self.representation.blocks)
        return found if self.heard is None else replace(found, expected=self.heard.expected)

    @cached_property
    def heard(self) -> Sources | None:
        """What sources say."""
        return None if self.sources is None else self.sources()

    @property
    def unaided(self) -> Averaged:
        """The same without sources, which tell of the objective and of no other outcome."""
        return self if self.sources is None else replace(self, sources=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the representation has to tell, and the sources."""
        return (*super().notes, *(() if self.heard is None else self.heard.notes))

    def fit(
        self,
        ids: Sequence[str],
        utility: NDArray[np.float64],
        seed: Sequence[int],
        extents: Extents | None = None,
    ) -> FittedAverage:
        """Draw hyperparameters given measurements; see `Surrogate.fit`.

        Args:
            ids: n measured candidates.
            utility: n values; of intervals, what they count as.
            seed: names the random stream.
            extents: what is known of results that are no plain number, in units of utility.

        Raises:
            DataError: nothing was measured, and there are no sources.
            FitError: no drawn hyperparameters are possible.
        """
        self.refuse_not_finite()
        began, heard, points = time.perf_counter(), self.heard, self.points
        if heard is None:
            observed = Standardised.of(self.pool, ids, utility)
        else:
            observed = heard.standardise(self.pool, ids, utility)
            factor, shift = heard.into(observed)
            points = replace(points, expected=heard.expected.scaled(factor, shift))
            heard = replace(heard, factor=factor)
        process = SlotProcess(points.layout, points.groups, self.settings.noise_floor, heard)
        if extents is not None:
            extents = extents.at(np.isfinite(utility))
        sites = Sites.of(observed.targets, extents, observed.location.item(), observed.scale.item())
        fitted = self._given(process, points, observed, sites, seed, began)
        if sites.between.any():
            for _ in range(SITE_PASSES):
                fitted = fitted.at_sites(fitted.sites.moved(*fitted.left_out()))
            fitted = self._given(process, points, observed, fitted.sites, seed, began)
        return fitted

    def _given(
        self,
        process: SlotProcess,
        points: Points,
        observed: Standardised,
        sites: Sites,
        seed: Sequence[int],
        began: float,
    ) -> FittedAverage:
        """Hyperparameters drawn given sites, and the processes with them."""
        measured = points.at(observed.rows)
        distances = process.distances(measured, measured)
        with seeded(*seed):
            theta, likelihood, evaluations = self._drawn(process, measured, distances, sites)
        loss = -likelihood.mean().item() / max(1, len(observed.rows))
        told, seconds = _told(process, theta), time.perf_counter() - began
        return FittedAverage(
            self.pool, **observed.attributes(),
            report=FitReport("smc", (loss,) * evaluations, loss, told, seconds),
            process=process, representation=self.representation, points=points, measured=measured,
            theta=theta, sites=sites, **_solved(process, theta, measured, sites, self.pool.name),
        )  # fmt: skip

    def restored(
        self, observed: Standardised, found: Mapping[str, Tensor], report: FitReport
    ) -> FittedAverage:
        """A fit to plain numbers as it was, of what it had found (`Fitted.found`).

        Raises:
            DataError: something is missing, or has another shape.
        """
        points, name = self.points, self.pool.name
        process = SlotProcess(points.layout, points.groups, self.settings.noise_floor)
        theta, measured = found.get("theta"), points.at(observed.rows)
        if len(found) != 1 or theta is None or theta.shape[1:] != process.prior[0].shape:
            raise DataError("it does not hold what such a surrogate is made of.")
        location, scale = observed.location.item(), observed.scale.item()
        sites = Sites.of(observed.targets, None, location, scale)
        return FittedAverage(
            self.pool, **observed.attributes(), report=report, process=process,
            representation=self.representation, points=points, measured=measured, theta=theta,
            sites=sites, **_solved(process, theta, measured, sites, name),
        )  # fmt: skip

    def _drawn(
        self, process: SlotProcess, measured: Points, distances: Distances, sites: Sites
    ) -> tuple[Tensor, Tensor, int]:
        """Hyperparameters given measurements; of many, given some, and fewer of them are kept."""
        settings, count = self.settings.averaging, len(sites.targets)
        targets, variance = sites.targets, sites.variance
        if count <= self.drawn:
            return draw(process, distances, targets, settings, measured, variance)
        some = torch.randperm(count)[: self.drawn].sort().values
        few = measured.at(some.numpy())
        theta, likelihood, evaluations = draw(
            process, process.distances(few, few), targets[some], settings, few, variance[some]
        )
        kept = max(FEWEST, round(len(theta) * (self.drawn / count) ** 2))
        every = torch.linspace(0, len(theta) - 1, kept).round().long()
        return theta[every], likelihood[every] * count / self.drawn, evaluations

    def untrained(self, seed: int) -> NDArray[np.float64]:
        """Features N x d, for a first design to spread over."""
        matrix: NDArray[np.float64] = self.representation.matrix.double().cpu().numpy()
        return matrix


@dataclass(frozen=True, eq=False)
class FittedAverage(Fitted):
    """Equally likely processes given observations; mean and variance are those of their mixture.

    Attributes:
        process: what they have in common.
        representation: features of the pool's rows.
        points: the candidates, by components.
        measured: those that were measured.
        theta: hyperparameters of P particles.
        sites: the observations with what is known of them.
        whitening: L⁻ᵀ of P Cholesky factors L of n observations, P x n x n.
        white: P solved residuals, P x n x 1.
    """

    process: SlotProcess
    representation: FixedFeatures
    points: Points
    measured: Points
    theta: Tensor
    sites: Sites
    whitening: Tensor
    white: Tensor

    def found(self) -> dict[str, Tensor]:
        """Hyperparameters of all particles."""
        plain = self.process.sources is None and not self.sites.between.any()
        return {"theta": self.theta} if plain else {}

    @property
    def noise(self) -> float:
        """Mean noise variance."""
        return float(self.process.noise(self.theta).mean())

    def each(self, points: Points) -> tuple[Tensor, Tensor]:
        """Posterior means and variances of every particle at m points; P x m each."""
        return self._each(points, self._solved(points))

    def _each(self, points: Points, solved: Tensor) -> tuple[Tensor, Tensor]:
        """The same where what `_solved` gives is known."""
        mean = self.process.mean(self.theta, points) + (solved @ self.white).squeeze(2)
        rest = self.process.variance_at(self.theta, points) - solved.square().sum(2)
        return mean, rest.clamp_min(SMALLEST_VARIANCE)

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean and variance of the mixture at m rows, a piece of them at a time; m and m."""
        return self._mixtures(self.points, rows)

    def left_out(self) -> tuple[Tensor, Tensor]:
        """As `Fitted.left_out`, of the mixture; n and n."""
        noise = self.process.noise(self.theta)[:, None] + self.sites.variance
        found = without_itself(*self.each(self.measured), self.sites.targets, noise)
        mean, variance = _mixed(*found)
        # What an interval leaves open is no part of what would be measured.
        return mean, variance - (self.sites.variance - self.sites.errors)

    def at_sites(self, sites: Sites) -> FittedAverage:
        """The same particles, given other sites."""
        parts = _solved(self.process, self.theta, self.measured, sites, self.pool.name)
        return replace(self, sites=sites, **parts)

    def encoded(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Mean and variance of the mixture at m rows outside the pool; m and m."""
        return self.mixture(self.elsewhere(table))

    def elsewhere(self, table: pd.DataFrame, like: Rows | None = None) -> Points:
        """Points of m rows outside the pool, which may differ in numbers only from m in it."""
        read, heard = self.representation, self.process.sources
        points = self.points.other(
            read.rows_of(table) if like is None else read.numbers(table, like)
        )
        if heard is None:
            return points
        observed = Standardised(self.rows, self.utility, self.location, self.scale)
        return replace(points, expected=heard.of(table, like).scaled(*heard.into(observed)))

    def mixture(self, points: Points) -> tuple[Tensor, Tensor]:
        """Mean and variance of the mixture at m points; m and m."""
        return self._mixtures(points, np.arange(len(points)))

    @property
    def rough(self) -> FittedAverage:
        """An eighth of the particles."""
        return self.thinned(max(FEWEST, len(self.theta) // 8))

    def thinned(self, count: int) -> FittedAverage:
        """The same with so many of the particles at most."""
        if len(self.theta) <= count:
            return self
        kept = torch.linspace(0, len(self.theta) - 1, count).round().long()
        parts = {name: getattr(self, name)[kept] for name in ("theta", "whitening", "white")}
        return replace(self, **parts)

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows | None = None) -> FittedAverage:
        """The same particles over r rows of the pool and m others."""
        points = self.points.at(rows)
        if len(table):
            points = points.followed(self.elsewhere(table, like))
        return replace(self, points=points, **self._beyond(rows, table))

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """Covariance of the mixture of n and m rows; n x m."""
        return self.joint(self.points.at(a), self.points.at(b))

    def joint(self, first: Points, second: Points) -> Tensor:
        """Covariance of the mixture at n and m points; n x m."""
        return self._beside(first)(second)[2]

    def beside(self, rows: Rows) -> Callable[[Rows], tuple[Tensor, Tensor, Tensor]]:
        """As `Fitted.beside`; what belongs to the n rows is computed once."""
        told = self._beside(self.points.at(rows))
        return lambda others: told(self.points.at(others))

    def _beside(self, first: Points) -> Callable[[Points], tuple[Tensor, Tensor, Tensor]]:
        own = self._solved(first)
        means, _ = self._each(first, own)
        off = means - means.mean(0)

        def told(second: Points) -> tuple[Tensor, Tensor, Tensor]:
            solved = self._solved(second)
            means, variances = self._each(second, solved)
            prior = self.process.covariance(self.theta, self.process.distances(first, second))
            left = (prior - own @ solved.transpose(1, 2)).mean(0)
            covariance = left + off.T @ (means - means.mean(0)) / len(self.theta)
            return *_mixed(means, variances), covariance

        return told

    def similarity(self, a: Rows, b: Rows) -> Tensor:
        """Prior correlation, averaged over particles; n x m."""
        distances = self.points.at(a).distances(self.points.at(b))
        prior = self.process.covariance(self.theta, distances)
        found: Tensor = (prior / self.process.variance(self.theta)[:, None, None]).mean(0)
        return found

    @cached_property
    def _shares(self) -> Tensor:
        """How much each slot tells experiments apart, by particle; P x S, and 1 in each row."""
        rng = np.random.default_rng(0)
        own, other = (rng.integers(len(self.pool), size=PAIRS) for _ in range(2))
        falls = self.process.falls(self.theta, self.points.changes(own, other))
        return falls / falls.sum(1, keepdim=True).clamp_min(1e-300)

    def weights(self) -> dict[str, float]:
        """How much each slot tells experiments apart, averaged over particles; together 1."""
        return dict(zip(self.points.layout.names, self._shares.mean(0).tolist(), strict=True))

    def weight_intervals(self) -> dict[str, tuple[float, float]]:
        """Between which weights 90 % of the particles are."""
        low, high = self._shares.quantile(torch.tensor(INTERVAL).double(), dim=0).tolist()
        ends = zip(low, high, strict=True)
        return dict(zip(self.points.layout.names, ends, strict=True))

    def trust_in_sources(self) -> dict[str, tuple[float, float, float]]:
        """Weights of what sources say, averaged over particles, and between which 90 % are."""
        if self.process.sources is None:
            return {}
        trust = self.process.trust(self.theta)
        low, high = trust.quantile(torch.tensor(INTERVAL).double(), dim=0).tolist()
        found = zip(trust.mean(0).tolist(), low, high, strict=True)
        return dict(zip(self.process.sources.names, found, strict=True))

    @property
    def unitless(self) -> bool:
        """Whether there is no result, and sources have no unit in common with the objective."""
        heard = self.process.sources
        return len(self.rows) == 0 and heard is not None and heard.units is None

    def inherited(self, rows: Rows) -> Tensor | None:
        """The prior mean, averaged over particles, where sources give one."""
        if self.process.sources is None:
            return None
        mean = self.process.mean(self.theta, self.points.at(rows)).mean(0)
        return self.location + self.scale * mean

    def _mixtures(self, points: Points, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean and variance of equally likely normals at all of these rows."""
        means, variances = [], []
        for start in range(0, max(1, len(rows)), SCORED):
            mean, variance = _mixed(*self.each(points.at(rows[start : start + SCORED])))
            means.append(mean)
            variances.append(variance)
        return torch.cat(means), torch.cat(variances)

    def _solved(self, points: Points) -> Tensor:
        """(L⁻¹ K(Z, ·))ᵀ of m points, P x m x n."""
        distances = self.process.distances(points, self.measured)
        return self.process.cross(self.theta, distances) @ self.whitening


def _solved(
    process: SlotProcess, theta: Tensor, measured: Points, sites: Sites, name: str
) -> dict[str, Any]:
    """What predictions are made of: whitening and whitened residuals by name.

    Raises:
        FitError: a covariance can't be factorised.
    """
    distances = process.distances(measured, measured)
    factors, failed = process.factor(theta, distances, sites.variance)
    if bool(failed.any()):
        raise FitError(f"{name}: the drawn covariances can't be factorised.")
    residual = (sites.targets - process.mean(theta, measured)).unsqueeze(-1)
    # L⁻ᵀ: many points are multiplied faster than solved.
    one = torch.eye(len(sites.targets)).double().expand_as(factors)
    whitening = torch.linalg.solve_triangular(factors, one, upper=False).transpose(1, 2)
    white = torch.linalg.solve_triangular(factors, residual, upper=False)
    return {"whitening": whitening, "white": white}


def _mixed(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of P equally likely normals at m points, P x m each; m and m."""
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def draw(
    process: SlotProcess,
    distances: Distances,
    targets: Tensor,
    settings: AveragingSettings,
    measured: Points | None = None,
    variance: Tensor | None = None,
) -> tuple[Tensor, Tensor, int]:
    """Hyperparameters from their posterior, from PyTorch's current random stream.

    Args:
        process: prior and likelihood.
        distances: between the observations.
        targets: n standardised values.
        settings: how many particles and moves.
        measured: the observations, where sources tell of them.
        variance: of each of them beside the noise, n.

    Returns:
        θ, P x (S + C + K + 3); their log likelihoods, P; and how often all were evaluated.
    """
    means, deviations = process.prior
    theta = means + deviations * torch.randn(settings.particles, len(means)).double()
    if len(targets) == 0:
        return theta, torch.zeros(len(theta)).double(), 1

    def density(theta: Tensor) -> Tensor:
        return process.log_likelihood(theta, distances, targets, measured, variance)

    likelihood, evaluations, power = density(theta), 1, 0.0
    while power < 1.0:
        step = _next_power(likelihood, power)
        weights = torch.softmax((step - power) * likelihood, 0)
        # Systematic resampling: one uniform number decides.
        places = (torch.arange(len(theta)) + torch.rand(1)).double() / len(theta)
        kept = torch.searchsorted(weights.cumsum(0), places).clamp_max(len(theta) - 1)
        theta, likelihood, power = theta[kept], likelihood[kept], step
        for move in range(settings.moves if power < 1.0 else 2 * settings.moves):
            theta, likelihood = _moved(process, density, theta, likelihood, power, move)
            evaluations += 1
    return theta, likelihood, evaluations


def _moved(
    process: SlotProcess,
    density: Callable[[Tensor], Tensor],
    theta: Tensor,
    likelihood: Tensor,
    power: float,
    move: int,
) -> tuple[Tensor, Tensor]:
    """One random-walk Metropolis move of every particle, in the directions in which they spread."""
    size = theta.shape[1]
    spread = torch.cov(theta.T) + 1e-6 * torch.eye(size).double()
    reach = 2.38 / size**0.5 * (1.0, 0.6, 0.3)[move % 3]
    proposed = theta + reach * torch.randn_like(theta) @ torch.linalg.cholesky(spread).T
    theirs = density(proposed)
    gain = power * (theirs - likelihood) + process.log_prior(proposed) - process.log_prior(theta)
    taken = torch.rand(len(theta)).double().log() < gain
    return (
        torch.where(taken.unsqueeze(1), proposed, theta),
        torch.where(taken, theirs, likelihood),
    )


def _next_power(likelihood: Tensor, power: float) -> float:
    """The largest power at which the particles count as half their number; at most 1."""

    def enough(to: float) -> bool:
        weights = torch.softmax((to - power) * likelihood, 0)
        return weights.square().sum().item() * len(weights) <= 2.0

    if enough(1.0):
        return 1.0
    low, high = power, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return high if low == power else low


def _told(process: SlotProcess, theta: Tensor) -> dict[str, float]:
    """Medians over particles by name."""
    weights, whole, own = process.scales(theta)
    names, parts = process.layout.names, process.components
    heard = () if process.sources is None else process.sources.names
    trust = zip(heard, process.trust(theta).T, strict=True) if heard else ()
    return {
        **{f"source {name}": weight.median().item() for name, weight in trust},
        **{f"weight {n}": w.median().item() for n, w in zip(names, weights.T, strict=True)},
        **{f"scale {n}": s.median().item() for n, s in zip(parts, own.T, strict=True)},
        "outputscale": whole.median().item(),
        "noise": process.noise(theta).median().item(),
        "constant": theta[:, -1].median().item(),
    }
