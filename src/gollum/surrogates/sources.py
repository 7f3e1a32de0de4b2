"""What source tasks say of the candidates: processes fitted to earlier results, averaged as usual.

The target's process takes what they expect as its prior mean, with a weight that is drawn like any
other hyperparameter, and what they leave open as part of its prior covariance. Integrated over a
shared function that is a multi-task process (Bonilla, Chai and Williams, NeurIPS 2007) whose
sources do not learn from the target, so that a fit costs hardly more than without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.data.pool import Pool
from gollum.data.source import SourceTask
from gollum.errors import DataError
from gollum.features.base import FixedFeatures
from gollum.features.components import Expected, Points
from gollum.features.fixed.columns import partition
from gollum.features.related import related
from gollum.features.representations import Setup
from gollum.surrogates.averaged import Averaged, FittedAverage
from gollum.surrogates.base import Rows, Standardised, standard_deviation

MOST = 2000  # rows of source tasks that one model is given
DRAWN = 150  # rows by which the hyperparameters of one model are drawn
TABULATED = 3000  # candidates between which covariances are kept
PIECE = 256  # rows of that at a time
KEPT = 16  # particles of it
AGREEMENT = 0.25  # correlation with what the others expect, below which a source stands alone
PRIOR_RESULTS = 10  # results of the target that the sources' location and scale count as
STREAM = (0, 18)  # names the random stream of fits to sources, which no campaign's seed changes

Make = Callable[[Setup], FixedFeatures]


@dataclass(frozen=True, eq=False)
class Sources:
    """K fitted models of earlier results, and what they say of the candidates.

    Attributes:
        names: of the models; the first stands for all sources that have most in common.
        models: fitted to standardised values of each source.
        base: position of the model that each says something beyond, or its own where it stands
            by itself.
        expected: of the N candidates, in standardised units of the sources.
        units: mean and standard deviation of those values of the first model that are comparable
            with the target's; None where none are.
        explained: variance over the candidates of what the first model expects, in units of its
            own outcome's variance; at most 1.
        notes: what a user should know.
        factor: of the units in which covariances are given.
        between: covariances between all candidates, made when they are first needed; None of pools
            of more than `TABULATED`.
    """

    names: tuple[str, ...]
    models: tuple[FittedAverage, ...]
    base: tuple[int, ...]
    expected: Expected
    units: tuple[float, float] | None
    explained: float
    notes: tuple[str, ...] = ()
    factor: float = 1.0
    between: Callable[[], Tensor] | None = None

    def covariance(self, a: Expected, b: Expected) -> Tensor:
        """How what all sources together leave open covaries between n and m rows; n x m."""
        model = self.models[0]
        if self.between is None or a.rows is None or b.rows is None:
            found = model.joint(a.points, b.points)
        else:
            found = self.between()[torch.as_tensor(a.rows)][:, torch.as_tensor(b.rows)]
        return (self.factor * model.scale).square() * found

    def standardise(
        self, pool: Pool, ids: Sequence[str], utility: NDArray[np.float64]
    ) -> Standardised:
        """Observations, of which there may be none.

        Where values are comparable, location and scale are those of the target's results and of
        `PRIOR_RESULTS` that had the sources' mean and standard deviation.
        """
        known = np.isfinite(utility)
        rows = pool.positions(np.asarray(ids, dtype=object)[known])
        y = torch.as_tensor(np.asarray(utility, dtype=np.float64)[known])
        count = len(y)
        if self.units is None:
            zero, one = torch.zeros(()).double(), torch.ones(()).double()
            location, scale = (y.mean(), standard_deviation(y)) if count else (zero, one)
            return Standardised(rows, y, location, scale)
        middle, width = self.units
        location = (PRIOR_RESULTS * middle + y.sum()) / (PRIOR_RESULTS + count)
        squares = (y - location).square().sum() + PRIOR_RESULTS * (
            width**2 + (middle - location) ** 2
        )
        return Standardised(rows, y, location, (squares / (PRIOR_RESULTS + count)).sqrt())

    def into(self, observed: Standardised) -> tuple[float, float]:
        """Factor and shift from units of the sources to those of standardised observations."""
        if self.units is None:
            return 1.0, 0.0
        middle, width = self.units
        scale = observed.scale.item()
        return width / scale, (middle - observed.location.item()) / scale

    def of(self, table: pd.DataFrame, like: Rows | None = None) -> Expected:
        """What is said of m rows that need not be candidates; see `FittedAverage.elsewhere`.

        Raises:
            DataError: they lack a column.
        """
        return _expected(self.models, self.base, lambda model: model.elsewhere(table, like))


def sources_of(setup: Setup, make: Make) -> Sources:
    """Fit models to the source tasks of a problem.

    Sources with the same columns in common with the candidates that agree about these learn
    together; what each of them says beyond that, and what others say, has a weight of its own.

    Args:
        setup: of the target; its problem has sources.
        make: fixed features of a setup's candidates.

    Raises:
        DataError: no source has anything in common with the candidates; of others that have none a
            note tells.
    """
    names, models, base, notes = list[str](), list[FittedAverage](), list[int](), list[str]()
    leading: list[SourceTask] = []
    for group in _groups(setup):
        try:
            found, kept = _of_group(setup, group, make, notes)
        except DataError as error:
            told = ", ".join(source.name for source in group)
            notes.append(f"{told}: nothing is learned from it, as {error}")
            continue
        leading, start = leading or kept, len(models)
        for name, model, beyond in found:
            names.append(name)
            models.append(model)
            base.append(start + beyond)
    if not models:
        raise DataError(f"{notes[0]} `gollum learn` lets a source go by --forget.")
    every = np.arange(len(setup.problem.pool))
    said = replace(_expected(models, base, lambda model: model.points.at(every)), rows=every)
    units, comparable = None, [source for source in leading if source.comparable]
    if comparable:
        units = (
            float(np.mean([source.utility.mean() for source in comparable])),
            float(np.mean([source.scale for source in comparable])),
        )
    between = cache(partial(_between, models[0], every)) if len(every) <= TABULATED else None
    explained = min(1.0, said.mean[:, 0].var(correction=0).item())
    return Sources(
        tuple(names), tuple(models), tuple(base), said, units, explained, tuple(notes),
        between=between,
    )  # fmt: skip


def _of_group(
    setup: Setup, group: Sequence[SourceTask], make: Make, notes: list[str]
) -> tuple[list[tuple[str, FittedAverage, int]], list[SourceTask]]:
    """Models of sources with the same columns in common: of those that agree, and of each.

    Returns:
        Name, model, and position of the model that it says something beyond; those that agree.

    Raises:
        DataError: nothing joins them with the candidates.
    """
    pool, features, task = related(setup, group, make)
    surrogate = Averaged(pool, features, setup.settings, setup.runtime, drawn=DRAWN)
    values = np.concatenate([source.standardised for source in group])
    first = len(setup.problem.pool)

    def fitted(name: str, chosen: Sequence[int]) -> FittedAverage:
        rows = np.flatnonzero(np.isin(task[first:], [k + 1 for k in chosen]))
        if len(rows) > MOST:
            notes.append(f"{name}: {MOST} of {len(rows)} results are used.")
            rows = np.sort(np.random.default_rng(STREAM).permutation(rows)[:MOST])
        return surrogate.fit([*pool.ids[first + rows]], values[rows], STREAM).thinned(KEPT)

    alone = [fitted(source.name, [k]) for k, source in enumerate(group)]
    every = np.arange(first)
    kept = agreeing([model.standardised(every)[0] for model in alone])
    found = list[tuple[str, FittedAverage, int]]()
    if len(kept) > 1:
        name = " + ".join(group[k].name for k in kept)
        found = [(name, fitted(name, kept), 0)]
    found += [(group[k].name, alone[k], 0) for k in kept]
    for k in (k for k in range(len(group)) if k not in kept):
        found.append((group[k].name, alone[k], len(found)))
        notes.append(f"{group[k].name}: it disagrees with other sources and stands alone.")
    return found, [group[k] for k in kept]


def _between(model: FittedAverage, every: Rows) -> Tensor:
    """Covariances between all candidates, N x N."""
    points = model.points.at(every)
    pieces = (model.points.at(every[start : start + PIECE]) for start in every[::PIECE])
    return torch.cat([model.joint(piece, points) for piece in pieces])


def agreeing(expected: Sequence[Tensor]) -> list[int]:
    """Which sources agree about the candidates, so that one model may stand for all of them.

    The one that agrees least with the mean of the others leaves, until each correlates with that
    by `AGREEMENT`.

    Args:
        expected: what each of K models expects of N candidates.

    Returns:
        Their positions; a single one where no two agree.
    """
    kept = list(range(len(expected)))
    said = torch.stack([(one - one.mean()) / one.std().clamp_min(1e-12) for one in expected])
    while len(kept) > 1:
        others = [said[[j for j in kept if j != k]].mean(0) for k in kept]
        found = [
            torch.corrcoef(torch.stack([said[k], mean]))[0, 1].nan_to_num(0.0).item()
            for k, mean in zip(kept, others, strict=True)
        ]
        worst = int(np.argmin(found))
        if found[worst] >= AGREEMENT:
            break
        del kept[worst]
    return kept


def _groups(setup: Setup) -> list[list[SourceTask]]:
    """Sources that have the same components in common with the candidates; the largest first.

    Those with values of the target's objective come before others. Of columns that rename each
    other, such as a name and its SMILES, one is enough.
    """
    columns = setup.problem.pool.table
    found: dict[frozenset[bytes], list[SourceTask]] = {}
    for source in setup.problem.sources:
        shared = (partition(columns[c]) for c in columns if c in source.table)
        found.setdefault(frozenset(filter(None, shared)), []).append(source)

    def worth(item: tuple[frozenset[bytes], list[SourceTask]]) -> tuple[bool, int]:
        shared, group = item
        return any(s.comparable for s in group), (1 + len(shared)) * sum(map(len, group))

    return [group for _, group in sorted(found.items(), key=worth, reverse=True)]


def _expected(
    models: Sequence[FittedAverage],
    base: Sequence[int],
    where: Callable[[FittedAverage], Points],
) -> Expected:
    means, first, variance = list[Tensor](), None, torch.empty(0)
    for number, (model, beyond) in enumerate(zip(models, base, strict=True)):
        points = where(model)
        mean, left = model.mixture(points)
        mean = model.location + model.scale * mean
        if number == 0:
            first, variance = points, model.scale.square() * left
        means.append(mean if beyond == number else mean - means[beyond])
    assert first is not None  # noqa: S101 (there is a model at least)
    return Expected(torch.stack(means, 1), variance, first)
