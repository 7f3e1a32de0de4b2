"""Batches for several objectives: the front as a whole, or one weighted desirability.

Up to three objectives are weighed by the expected gain of hypervolume (qLogNEHVI; Daulton et al.,
NeurIPS 2021; Ament et al. 2023), more by random Chebyshev scalarizations (qLogNParEGO; Knowles
2006), weights by the expected gain of the weighted desirability (qLogNEI). Each outcome has a model
of its own, and what counts is its value on the user's scale, inside its bounds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.logei import (
    qLogNoisyExpectedHypervolumeImprovement,
)
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.acquisition.objective import GenericMCObjective
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from botorch.utils.sampling import draw_sobol_normal_samples
from torch import Tensor

from gollum.acquisition.batch import integer_of, tied
from gollum.acquisition.limits import Rows
from gollum.acquisition.scoring import Constraint, widened
from gollum.acquisition.strategy import BatchRequest, Observed, Selection, Vector
from gollum.data.fronts import (
    desirability,
    hypervolume,
    on_front,
    reference_point,
)
from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.notes import Note
from gollum.runtime import seeded
from gollum.surrogates.base import SMALLEST_VARIANCE, Fitted, break_ties
from gollum.surrogates.positions import MarginalModel, SeveralOutcomes, TabulatedModel

SHORTLIST = 256  # candidates that are compared as parts of a batch
SAMPLES = 128  # of the joint posterior
MANY_SAMPLES = 4096  # of a single candidate
FRONT = 3  # objectives up to which hypervolumes are computed
SCORED = 64  # candidates scored at a time
SCREENED = 16384  # likewise, by themselves
NODES = 12  # of Gauss–Hermite quadrature


@dataclass(frozen=True, eq=False)
class Several:
    """Objectives and limits with their models.

    Attributes:
        objectives: k outcomes that are pursued.
        models: their k models.
        constraints: further outcomes and their limits.
        by: 'hypervolume', 'scalarization' or 'desirability'.
    """

    objectives: tuple[Observed, ...]
    models: tuple[Fitted, ...]
    constraints: tuple[Constraint, ...] = ()
    by: str = "hypervolume"

    @classmethod
    def of(
        cls,
        objectives: Sequence[Observed],
        models: Sequence[Fitted],
        constraints: Sequence[Constraint] = (),
    ) -> Several:
        """By weighted desirability where a weight is given, otherwise by the front."""
        by = "hypervolume" if len(objectives) <= FRONT else "scalarization"
        if any(one.outcome.weight is not None for one in objectives):
            by = "desirability"
        return cls(tuple(objectives), tuple(models), tuple(constraints), by)

    @cached_property
    def known(self) -> tuple[Rows, Vector]:
        """Measured candidates with a value of every objective, and their mean merits, n x k."""
        each = [dict(zip(*_means(one, self.models[0]), strict=True)) for one in self.objectives]
        rows = sorted(set.intersection(*(set(found) for found in each)))
        merits = [[found[row] for found in each] for row in rows]
        return np.array(rows, dtype=np.int64), np.array(merits).reshape(len(rows), len(each))

    @property
    def measured(self) -> Rows:
        """Candidates with a result of any objective."""
        return np.unique(np.concatenate([model.rows for model in self.models]))

    @cached_property
    def allowed(self) -> np.ndarray:
        """Which of these are known to meet all limits; n flags."""
        rows, _ = self.known
        held = np.ones(len(rows), dtype=bool)
        for constraint in self.constraints:
            held &= constraint.known(rows).cpu().numpy()
        return held

    @property
    def front(self) -> Vector:
        """Merits of the measured front within all limits, m x k; there may be none."""
        _, merits = self.known
        merits = merits[self.allowed]
        front: Vector = merits[on_front(merits)]
        return front

    def moments(self, rows: Rows) -> list[tuple[Tensor, Tensor]]:
        """Means and variances of all models at N candidates, computed once for the same rows."""
        key = rows.tobytes()
        if key not in self._moments:
            self._moments.clear()
            self._moments[key] = [model.standardised(rows) for model in _every(self)]
        return self._moments[key]

    @cached_property
    def _moments(self) -> dict[bytes, list[tuple[Tensor, Tensor]]]:
        return {}

    def log_chance(self, rows: Rows) -> Tensor:
        """Log probability that all limits hold at N candidates; N."""
        moments = self.moments(rows)
        found = torch.zeros_like(moments[0][0])
        for constraint, moment in zip(self.constraints, moments[len(self.models) :], strict=True):
            found = found + constraint.log_chance(*moment)
        return found

    @torch.no_grad()
    def reference(self, rows: Rows) -> Vector:
        """The reference point, below the front as far as the models see it; k.

        That is, below what was measured within the limits, and what of N candidates is predicted
        to be best in each objective and more likely than not within the limits. A point below the
        measured front alone, as BoTorch's `infer_reference_point` gives it, keeps a narrow front
        narrow: what is better in one objective and worse in another than all of it would not count.
        """
        chance = self.log_chance(rows)
        means = [mean for mean, _ in self.moments(rows)[: len(self.models)]]
        predicted = self.merits(torch.stack(means, dim=-1))
        likely = chance >= chance.max().clamp_max(math.log(0.5))
        places = predicted.where(likely.unsqueeze(1), -torch.inf).argmax(0)
        points = np.concatenate([self.front, predicted[places].cpu().numpy()])
        said = [one.outcome.least_merit for one in self.objectives]
        return reference_point(points[on_front(points)], said)

    def merits(self, samples: Tensor) -> Tensor:
        """Merits … x k of standardised utilities … x (k + c), of which the first k count."""
        columns = [
            _merits(one, m.location + m.scale * samples[..., j])
            for j, (one, m) in enumerate(zip(self.objectives, self.models, strict=True))
        ]
        return torch.stack(columns, dim=-1)

    def desirability(self, merits: Tensor) -> Tensor:
        """As `gollum.data.fronts.desirability`, of merits … x k; the leading shape."""
        found = desirability([one.outcome for one in self.objectives], merits.cpu().numpy())
        return torch.as_tensor(found).to(merits)

    @torch.no_grad()
    def alone(
        self, rows: Rows, weights: Sequence[Tensor], point: Vector | None = None
    ) -> list[Tensor]:
        """Log of what each of N candidates brings by itself, from marginals; a list of N.

        Of hypervolumes and desirabilities there is one such value; of scalarizations one for each
        of several weights, k each.
        """
        chance, moments = self.log_chance(rows), self.moments(rows)[: len(self.models)]
        if point is None and self.by == "hypervolume":
            point = self.reference(rows)
        found = [
            self._alone([(m[i : i + SCREENED], v[i : i + SCREENED]) for m, v in moments],
                        chance[i : i + SCREENED], weights, point)
            for i in range(0, len(rows), SCREENED)
        ]  # fmt: skip
        return [torch.cat(values) for values in zip(*found, strict=True)]

    def _alone(
        self,
        moments: list[tuple[Tensor, Tensor]],
        chance: Tensor,
        weights: Sequence[Tensor],
        point: Vector | None,
    ) -> list[Tensor]:
        nodes, shares = (torch.as_tensor(x) for x in np.polynomial.hermite_e.hermegauss(NODES))
        shares = (shares / shares.sum()).to(moments[0][0])
        points = torch.stack(
            [
                mean.unsqueeze(1) + variance.sqrt().unsqueeze(1) * nodes
                for mean, variance in moments
            ],
            dim=-1,
        )
        merits = self.merits(points)  # N x nodes x k, each objective by itself
        if point is not None:
            mean = torch.einsum("nsk,s->nk", merits, shares)
            spread = torch.einsum("nsk,s->nk", (merits - mean.unsqueeze(1)).square(), shares)
            model = SeveralOutcomes(
                [
                    MarginalModel(m, v.clamp_min(SMALLEST_VARIANCE))  # GPyTorch's least too
                    for m, v in zip(mean.T, spread.T, strict=True)
                ]
            )
            reference = torch.as_tensor(point).to(mean)
            front = torch.as_tensor(self.front).to(mean)
            cells = FastNondominatedPartitioning(reference, front)
            gain = ExpectedHypervolumeImprovement(model, reference.tolist(), cells)(_numbers(mean))
            return [gain.clamp_min(1e-300).log() + chance]
        draws = self._drawn(moments)
        known = torch.as_tensor(self.known[1]).to(draws)
        found = []
        for weight in weights:
            scalar = self._scalar(draws, known, weight)
            level = self._scalar(known, known, weight).max() if len(known) else scalar.mean()
            model = MarginalModel(scalar.mean(1), scalar.var(1).clamp_min(1e-12))
            gain = LogExpectedImprovement(model, level)(_numbers(scalar))
            found.append(gain.nan_to_num(neginf=-1e6) + chance)
        return found

    def _scalar(self, merits: Tensor, known: Tensor, weight: Tensor) -> Tensor:
        """One number for merits … x k: their desirability, or an augmented Chebyshev norm."""
        if self.by == "desirability":
            return self.desirability(merits)
        every = known if len(known) else merits.reshape(-1, merits.shape[-1])
        low, high = every.amin(0), every.amax(0)
        unit = weight * (merits - low) / (high - low).clamp_min(1e-9)
        return unit.amin(-1) + 0.05 * unit.sum(-1)

    def _drawn(self, moments: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Merits of N candidates drawn from their marginals; N x SAMPLES x k."""
        like = moments[0][0]
        normal = draw_sobol_normal_samples(len(moments), SAMPLES, dtype=like.dtype, seed=0)
        columns = [
            mean.unsqueeze(1) + variance.sqrt().unsqueeze(1) * normal[:, j].to(like)
            for j, (mean, variance) in enumerate(moments)
        ]
        return self.merits(torch.stack(columns, dim=-1))

    def gains(self, rows: Rows, point: Vector | None = None) -> Vector:
        """What each of N candidates is expected to add, by itself and within the limits; N.

        As a share of the hypervolume so far, or as desirability.

        Args:
            rows: N candidates.
            point: reference of the hypervolume, k merits; `reference` by default.
        """
        volumes = replace(self, by="desirability" if self.by == "desirability" else "hypervolume")
        if point is None and self.by != "desirability":
            point = volumes.reference(rows)
        found: Vector = volumes.alone(rows, [torch.ones(1)], point)[0].exp().cpu().numpy()
        if point is None:
            return found
        return found / max(hypervolume(self.front, point), 1e-300)

    @torch.no_grad()
    def chances(self, rows: Rows, wider: Sequence[float] = ()) -> Vector:
        """Probability that no known experiment is as good in all objectives, limits included; m.

        Args:
            rows: m candidates.
            wider: factors on the deviations of the k models and c limits; 1 by default.
        """
        every = [*self.models, *(c.fitted for c in self.constraints)]
        factors = list(wider) or [1.0] * len(every)
        moments = [
            (mean, widened(variance, factor))
            for factor, (mean, variance) in zip(
                factors, (model.standardised(rows) for model in every), strict=True
            )
        ]
        count = len(self.models)
        normal = draw_sobol_normal_samples(count, MANY_SAMPLES, dtype=torch.float64, seed=0)
        found = torch.ones(len(rows), dtype=torch.float64)
        for i in range(len(rows)):
            points = torch.stack(
                [m[i] + v[i].sqrt() * normal[:, j] for j, (m, v) in enumerate(moments[:count])], -1
            )
            merits = self.merits(points)
            if self.by == "desirability":
                known = desirability([o.outcome for o in self.objectives], self.front)
                level = float(known.max()) if len(known) else 0.0
                free = self.desirability(merits) > level
            else:
                front = torch.as_tensor(self.front).to(merits)
                free = ~(front >= merits.unsqueeze(1)).all(-1).any(-1)
            found[i] = free.double().mean()
        for constraint, (mean, variance) in zip(self.constraints, moments[count:], strict=True):
            found *= constraint.log_chance(mean, variance).exp().cpu()
        chance: Vector = found.numpy()
        return chance


def select_several(
    several: Several, request: BatchRequest, seed: Sequence[int]
) -> tuple[list[int], list[float], tuple[Note, ...]]:
    """Choose a batch, one by one, each for what it adds to those before and to what is pending.

    Where there are more than `SHORTLIST` candidates, those are compared as a batch that bring most
    by themselves.

    Args:
        several: the objectives.
        request: what to respect.
        seed: numbers that break ties and name samples.

    Returns:
        Positions, acquisition values, and what a user should know.

    Raises:
        DataError: there is no candidate.
    """
    rows = request.rows[request.limits.allowed(request.rows, [])]
    pool = several.models[0].pool
    if len(rows) == 0:
        raise DataError(f"{pool.name}: every candidate has been measured already.")
    off = np.zeros(len(pool)) if request.penalties is None else request.penalties
    count = min(request.count, len(rows))
    weights = _weights(len(several.objectives), count, seed)
    point = several.reference(rows) if several.by == "hypervolume" else None
    rows, notes = _shortlist(several, rows, off, weights, request)
    measured = several.measured
    model = _joint(several, measured, request.pending, rows)
    first = len(measured) + len(request.pending)
    places = {int(row): first + i for i, row in enumerate(rows)}
    assumed = list(range(len(measured), first))
    chosen, scores = list[int](), list[float]()
    while len(chosen) < count and len(rows):
        criterion = _criterion(
            several, model, len(measured), assumed, weights[len(chosen)], point,
            (*seed, len(chosen)),
        )  # fmt: skip
        values = criterion(np.array([places[row] for row in rows.tolist()]))
        values = values - torch.as_tensor(off[rows]).to(values)
        best = values.max()
        names = {str(pool.ids[row]): int(row) for row in rows[tied(values, best)]}
        row = names[break_ties(list(names), seed)[0]]
        chosen.append(row)
        scores.append(best.item())
        assumed.append(places[row])
        rows = rows[(rows != row) & request.limits.allowed(rows, chosen)]
    return chosen, scores, notes


@dataclass(frozen=True, eq=False)
class Together:
    """Several objectives that experiments between the candidates are tried for.

    Attributes:
        several: the objectives and limits.
        point: reference of the hypervolume, or None.
        weight: of the objectives, k.
    """

    several: Several
    point: Vector | None
    weight: Tensor

    @classmethod
    def of(cls, several: Several, request: BatchRequest) -> Together:
        """As for the first of a batch."""
        point = several.reference(request.rows) if several.by == "hypervolume" else None
        return cls(several, point, _weights(len(several.objectives), 1, request.ties or ())[0])

    @property
    def pool(self) -> Pool:
        """The candidates."""
        return self.several.models[0].pool

    @property
    def measured(self) -> Rows:
        """Those with a result of any outcome."""
        return np.unique(np.concatenate([model.rows for model in _every(self.several)]))

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows) -> Together:
        """All models over these."""
        models = tuple(model.over(rows, table, like) for model in self.several.models)
        limits = tuple(limit.over(rows, table, like) for limit in self.several.constraints)
        return replace(self, several=replace(self.several, models=models, constraints=limits))

    def worth(self, rows: Rows, assumed: Rows, size: int, seed: Sequence[int]) -> Tensor:
        """By themselves, or with others under one of BoTorch's criteria; m."""
        if len(assumed) == 0:
            return self.several.alone(rows, [self.weight], self.point)[0]
        measured = self.several.measured
        first = len(measured) + len(assumed)
        model, others = _joint(self.several, measured, assumed, rows), range(len(measured), first)
        criterion = _criterion(
            self.several, model, len(measured), others, self.weight, self.point, seed
        )
        return criterion(np.arange(first, first + len(rows), dtype=np.float64))


def selection_of(
    several: Several, chosen: Sequence[int], scores: Sequence[float], notes: tuple[Note, ...]
) -> Selection:
    """A selection with what the first objective's model says of it."""
    rows, fitted = np.array(chosen, dtype=np.int64), several.models[0]
    means, variances = fitted.marginals(rows)
    return Selection(
        tuple(str(fitted.pool.ids[row]) for row in rows),
        tuple(scores),
        tuple(means.tolist()),
        tuple(variances.sqrt().tolist()),
        notes=notes,
    )


def _shortlist(
    several: Several, rows: Rows, off: Vector, weights: Sequence[Tensor], request: BatchRequest
) -> tuple[Rows, tuple[Note, ...]]:
    """The candidates that bring most by themselves, in the order of the pool; and a note."""
    if request.shared:
        rows = _plate(several, rows, off, weights, request)
    if len(rows) <= SHORTLIST:
        return rows, ()
    found = several.alone(rows, weights)
    kept = set[int]()
    for values in found:
        worth = values - torch.as_tensor(off[rows]).to(values)
        kept.update(worth.topk(math.ceil(SHORTLIST / len(found))).indices.tolist())
    what = (
        f"{len(kept)} of {len(rows):,} candidates, those that bring most by themselves, were "
        "compared as parts of a batch."
    )
    return rows[sorted(kept)], (Note("shortlist", "", what),)


def _plate(
    several: Several, rows: Rows, off: Vector, weights: Sequence[Tensor], request: BatchRequest
) -> Rows:
    """The candidates that share their values with the best one that has enough of its kind."""
    keys = np.stack([codes[rows] for codes in request.shared], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    sizes = np.bincount(group)
    full = sizes[group] >= min(request.count, int(sizes.max()))
    values = several.alone(rows, weights)[0].cpu().numpy() - off[rows]
    best = int(np.argmax(np.where(full, values, -np.inf)))
    plate: Rows = rows[group == group[best]]
    return plate


def _criterion(
    several: Several,
    model: SeveralOutcomes,
    measured: int,
    assumed: Sequence[int],
    weight: Tensor,
    point: Vector | None,
    seed: Sequence[int],
) -> Callable[[Vector], Tensor]:
    """BoTorch's criterion on a table whose first rows are the measured candidates."""
    like = model.each[0].mean

    def points(places: Any) -> Tensor:
        return torch.as_tensor(np.asarray(places), dtype=like.dtype).unsqueeze(-1)

    bounds = [_violation(len(several.objectives) + i, *c.ends())
              for i, c in enumerate(several.constraints)]  # fmt: skip
    constraints = [one for both in bounds for one in both] or None
    shared: dict[str, Any] = {
        "model": model,
        "X_baseline": points(range(measured)),
        "sampler": SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=integer_of(seed)),
        "constraints": constraints,
        "X_pending": points(assumed) if len(assumed) else None,
        "prune_baseline": True,
        "cache_root": False,
    }
    with seeded(*seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of BoTorch, on numbers that it scales itself
        if several.by == "desirability":
            objective = GenericMCObjective(
                lambda samples, X=None: several.desirability(several.merits(samples))  # noqa: N803
            )
            made: Any = qLogNoisyExpectedImprovement(objective=objective, **shared)
        else:
            merits = GenericMCMultiOutputObjective(
                lambda samples, X=None: several.merits(samples)  # noqa: N803
            )
            if point is not None:
                made = qLogNoisyExpectedHypervolumeImprovement(
                    ref_point=point.tolist(), objective=merits, **shared
                )
            else:
                made = qLogNParEGO(scalarization_weights=weight, objective=merits, **shared)

    @torch.no_grad()
    def values(places: Vector) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = [places[i : i + SCORED] for i in range(0, len(places), SCORED)]
            found = torch.cat([made(points(part).unsqueeze(-1)) for part in parts])
        return found.nan_to_num(nan=-torch.inf, neginf=-torch.inf)

    return values


def _violation(column: int, low: float, high: float) -> list[Callable[[Tensor], Tensor]]:
    """For each limit of an output, a function that is above 0 where it does not hold."""
    found = list[Callable[[Tensor], Tensor]]()
    if math.isfinite(low):
        found.append(lambda samples: low - samples[..., column])
    if math.isfinite(high):
        found.append(lambda samples: samples[..., column] - high)
    return found


def _every(several: Several) -> list[Fitted]:
    return [*several.models, *(constraint.fitted for constraint in several.constraints)]


def _joint(several: Several, *rows: Rows) -> SeveralOutcomes:
    """All models at some candidates, after each other."""
    points = np.concatenate(rows).astype(np.int64)
    return SeveralOutcomes([_tabulated(fitted, points) for fitted in _every(several)])


@torch.no_grad()
def _tabulated(fitted: Fitted, points: Rows) -> TabulatedModel:
    """Joint posterior of a model at some candidates, each computed once."""
    distinct, place = np.unique(points, return_inverse=True)
    mean, _ = fitted.standardised(distinct)
    covariance = fitted.covariance(distinct, distinct)
    at = torch.as_tensor(place)
    return TabulatedModel(mean[at].cpu(), covariance[at][:, at].cpu())


def _means(one: Observed, fitted: Fitted) -> tuple[list[int], list[float]]:
    """Positions of measured candidates and their mean merits."""
    rows, place = np.unique(fitted.pool.positions(one.ids), return_inverse=True)
    means = np.bincount(place, one.values) / np.bincount(place)
    return rows.tolist(), one.outcome.goal.merit(means).tolist()


def _weights(count: int, draws: int, seed: Sequence[int]) -> list[Tensor]:
    """Random weights of k objectives, uniform on the simplex, for each member of a batch."""
    rng = np.random.default_rng(np.random.SeedSequence([*seed, 11]))
    return [torch.as_tensor(rng.dirichlet(np.ones(count))) for _ in range(draws)]


def _numbers(like: Tensor) -> Tensor:
    return torch.arange(len(like), dtype=like.dtype).view(-1, 1, 1)


def _merits(one: Observed, utility: Tensor) -> Tensor:
    """Merits of utilities on the scale that they are learned on; the same shape."""
    goal = one.outcome.goal if one.outcome.goal.pursued else one.outcome.goal.alone
    return torch.as_tensor(goal.merit(one.scale.values(utility.cpu().numpy()))).to(utility)
