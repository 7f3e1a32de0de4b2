"""Building a batch: the next experiments, chosen for what they bring together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from botorch.utils.sampling import draw_sobol_normal_samples
from linear_operator.utils.cholesky import psd_safe_cholesky
from linear_operator.utils.warnings import NumericalWarning
from numpy.typing import NDArray
from torch import Tensor

from gollum.acquisition.limits import NO_LIMITS, Limits, Rows
from gollum.acquisition.scoring import Aim, score
from gollum.acquisition.strategy import Selection
from gollum.errors import DataError
from gollum.surrogates.base import SMALLEST_VARIANCE, Fitted, break_ties

ROUNDING = 1e-9  # relative difference of acquisition values that counts as none
SAMPLES = 256  # joint posterior samples of q_log_ei
MANY_SAMPLES = 4096  # where whole batches are compared
RESCORED = 256  # candidates scored anew at a time while a batch is built
SHORTLIST = 2048  # candidates for a batch that pass, and those that come close to a target
MANY = 5_000  # candidates, beyond which they are screened
FOR_ONE = 512  # candidates that pass where one is chosen and none is pending
PER_EXPERIMENT = 20  # of a batch, so many pass if that is more than the shortlist


def select(
    fitted: Fitted,
    rows: Rows,
    *,
    aim: Aim,
    batch_size: int,
    seed: Sequence[int],
    pending: Rows | None = None,
    limits: Limits = NO_LIMITS,
    penalties: NDArray[np.float64] | None = None,
    screened: bool = True,
) -> Selection:
    """Choose the next experiments among candidates.

    Batches are built one by one with unchanged hyperparameters. By default each choice is
    conditioned on as if it had given its posterior mean (the kriging believer; Ginsbourger et al.
    2010); with 'q_log_ei' the next one is that with which the batch as a whole has the largest
    expected improvement (greedily; Ament et al. 2023, Wilson et al. 2018). Experiments whose
    results are not there yet count as chosen before. Among very many candidates without limits,
    the surrogate is asked for those that its cheaper form (`Fitted.rough`) finds best.

    Args:
        fitted: surrogate given all measurements so far.
        rows: positions in its pool of the candidates that may be chosen.
        aim: the acquisition criterion.
        batch_size: how many to choose; fewer when candidates or limits end before.
        seed: numbers that break ties and name the samples of 'q_log_ei'.
        pending: positions of experiments whose results are not there yet.
        limits: what a batch must not exceed.
        penalties: for all N candidates of the pool, what is taken off their acquisition value.
        screened: whether its cheaper form is asked first where there are very many.

    Raises:
        DataError: there is no candidate.
    """
    rows = rows[limits.allowed(rows, [])]
    if len(rows) == 0:
        raise DataError(f"{fitted.pool.name}: every candidate has been measured already.")
    before = np.array([], dtype=np.int64) if pending is None else pending
    wanted = min(batch_size, len(rows))
    if screened and len(rows) > MANY and not limits.bind and fitted.rough is not fitted:
        rough = _less(score(fitted.rough, rows, aim.rough), rows, penalties)
        together = len(before) + wanted
        count = FOR_ONE if together == 1 else max(SHORTLIST, PER_EXPERIMENT * together)
        rows = rows[rough.topk(min(count, len(rows))).indices.sort().values.cpu().numpy()]
    values = _less(score(fitted, rows, aim), rows, penalties)
    if aim.target is not None and not limits.bind:
        best = values.topk(min(SHORTLIST, len(rows))).indices.sort().values
        rows, values = rows[best.cpu().numpy()], values[best]
    chosen, scores = list[int](), list[float]()
    while True:
        if len(before) or chosen:
            assumed = np.concatenate([before, np.array(chosen, dtype=np.int64)])
            gain = gains(fitted, assumed, len(before) + wanted, aim, seed)
            rescore = partial(_gain_less, gain, penalties)
            if aim.target is None:
                _refresh(values, rows, rescore)
            else:  # a smaller variance may raise a value, so outdated ones are no bounds
                values = rescore(rows)
        best_value = values.max()
        names = {str(fitted.pool.ids[row]): int(row) for row in rows[tied(values, best_value)]}
        chosen.append(names[break_ties(list(names), seed)[0]])
        scores.append(best_value.item())
        others = (rows != chosen[-1]) & limits.allowed(rows, chosen)
        rows, values = rows[others], values[torch.from_numpy(others)]
        if len(chosen) == wanted or len(rows) == 0:
            break
    means, variances = fitted.marginals(np.array(chosen))
    ids = tuple(str(fitted.pool.ids[row]) for row in chosen)
    return Selection(ids, tuple(scores), tuple(means.tolist()), tuple(variances.sqrt().tolist()))


def gains(
    fitted: Fitted, assumed: Rows, dimensions: int, aim: Aim, seed: Sequence[int]
) -> Callable[[Rows], Tensor]:
    """What scores candidates when others are tried as well.

    Args:
        fitted: the surrogate.
        assumed: positions of these others.
        dimensions: of the samples of joint criteria; one per experiment that may be assumed.
        aim: the acquisition criterion.
        seed: names these samples.
    """
    if len(assumed) == 0:
        return lambda rows: score(fitted, rows, aim)
    if aim.joint:
        return _joint(fitted, assumed, dimensions, aim, seed)
    return _believer(fitted, assumed, aim)


@torch.no_grad()
def batch_improvement(
    fitted: Fitted, rows: Rows, aim: Aim, seed: Sequence[int], pending: Rows | None = None
) -> float:
    """Expected improvement of a whole batch, of the standardised utility, by sampling.

    Args:
        fitted: the surrogate.
        rows: positions of the batch.
        aim: what counts as better.
        seed: names the samples, so that batches of one size are compared on the same ones.
        pending: positions of experiments whose results come as well.
    """
    points = rows if pending is None else np.concatenate([pending, rows])
    sampled = _merits(_sampled(fitted, points, len(points), seed, MANY_SAMPLES, aim), aim)
    before = aim.best(fitted)
    if pending is not None and len(pending):
        before = torch.maximum(before, sampled[:, : len(pending)].max(1).values)
    return (sampled.max(1).values - before).clamp_min(0.0).mean().item()


def tied(values: Tensor, best: Tensor) -> NDArray[np.bool_]:
    """Which values equal the best up to rounding, so that row order never decides."""
    equal = values == best
    if bool(best.isfinite()):
        equal = values >= best - ROUNDING * best.abs()
    flags: NDArray[np.bool_] = equal.cpu().numpy()
    return flags


def _refresh(values: Tensor, rows: Rows, rescore: Callable[[Rows], Tensor]) -> None:
    """Bring those values of candidates that may be the largest up to date, in place.

    Outdated values are upper bounds, so only those are scored anew that reach the best fresh one
    (lazy evaluation; Minoux 1978). The sampled gains of 'q_log_ei' are bounds up to sampling error.
    """
    bounds, best, count = values.clone(), values.new_tensor(-torch.inf), RESCORED
    while True:
        top = bounds.topk(min(count, len(bounds)))
        reach = top.values >= best - ROUNDING * best.abs() if bool(best > -torch.inf) else None
        part = top.indices if reach is None else top.indices[reach]
        if len(part) == 0 or bool(top.values[0] == -torch.inf):
            return
        values[part] = rescore(rows[part.cpu().numpy()])
        bounds[part] = -torch.inf
        best = torch.maximum(best, values[part].max())
        count *= 2


def _less(values: Tensor, rows: Rows, penalties: NDArray[np.float64] | None) -> Tensor:
    """Acquisition values less what is taken off those of n rows."""
    return values if penalties is None else values - torch.as_tensor(penalties[rows]).to(values)


def _gain_less(
    gain: Callable[[Rows], Tensor], penalties: NDArray[np.float64] | None, rows: Rows
) -> Tensor:
    return _less(gain(rows), rows, penalties)


def _believer(fitted: Fitted, assumed: Rows, aim: Aim) -> Callable[[Rows], Tensor]:
    """Scores given that each assumed experiment turned out at its posterior mean."""
    mean, _ = fitted.marginals(assumed)
    believed = fitted.condition([str(fitted.pool.ids[row]) for row in assumed], mean)
    supposed = aim.believing(assumed)
    return lambda rows: score(believed, rows, supposed)


class _Sample(NamedTuple):
    """Joint posterior samples of one model at m points, by which others are predicted.

    Attributes:
        told: of others their mean, variance and covariance with the points.
        values: count x m.
        normal: their normal draws, count x m.
        root: of the covariance, m x m.
    """

    told: Callable[[Rows], tuple[Tensor, Tensor, Tensor]]
    values: Tensor
    normal: Tensor
    root: Tensor

    def given(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Means and variances at k further points, given each sample; count x k each."""
        mean, variance, cross = self.told(rows)
        explained = torch.linalg.solve_triangular(self.root, cross, upper=False)
        means = mean + self.normal @ explained
        rest = (variance - explained.square().sum(0)).clamp_min(SMALLEST_VARIANCE)
        return means, rest.expand_as(means)


def _sampled(
    fitted: Fitted, points: Rows, dimensions: int, seed: Sequence[int], count: int, aim: Aim
) -> list[_Sample]:
    """Joint posterior samples at m points: of the objective, and of what has limits.

    Args:
        fitted: the surrogate.
        points: m positions.
        dimensions: of the draws for each model, of which the first m are used.
        seed: names the draws.
        count: number of samples.
        aim: which limits there are.
    """
    models = [fitted, *(constraint.fitted for constraint in aim.constraints)]
    like = fitted.location
    normals = draw_sobol_normal_samples(
        dimensions * len(models), count, device=like.device, dtype=like.dtype, seed=integer_of(seed)
    ).split(dimensions, 1)
    found = []
    for model, draws in zip(models, normals, strict=True):
        told = model.beside(points)
        mean, _, covariance = told(points)
        with warnings.catch_warnings():
            # Candidates with equal features need jitter, as a matter of course.
            warnings.simplefilter("ignore", NumericalWarning)
            root = psd_safe_cholesky(covariance)
        normal = draws[:, : len(points)]
        values = mean + normal @ root.T
        found.append(_Sample(told, values, normal, root))
    return found


def _merits(samples: Sequence[_Sample], aim: Aim) -> Tensor:
    """Merits of sampled points, count x m; worse than all where a limit does not hold."""
    merit = aim.merit(samples[0].values)
    for sample, constraint in zip(samples[1:], aim.constraints, strict=True):
        merit = merit.where(constraint.holds(sample.values), -torch.inf)
    return merit


@torch.no_grad()
def _joint(
    fitted: Fitted, assumed: Rows, dimensions: int, aim: Aim, seed: Sequence[int]
) -> Callable[[Rows], Tensor]:
    """Log of what a candidate adds to the expected improvement of the assumed experiments.

    E(max(f_x, f_P) − best)₊ − E(max f_P − best)₊ = E[EI of x given f_P over max(best, f_P)]:
    sampled in f_P, the values of the assumed ones, and exact in f_x. Where there are limits, those
    of P count that meet them, and x with the probability that it does.
    """
    samples = _sampled(fitted, assumed, dimensions, seed, SAMPLES, aim)
    best_f = torch.maximum(aim.best(fitted), _merits(samples, aim).max(1).values)

    def gain(rows: Rows) -> Tensor:
        pieces = [rows[i : i + RESCORED] for i in range(0, len(rows), RESCORED)]
        return torch.cat([gain_of_few(piece) for piece in pieces])

    @torch.no_grad()
    def gain_of_few(rows: Rows) -> Tensor:
        means, rest = samples[0].given(rows)
        over = best_f.unsqueeze(1).expand_as(means)
        values = aim.values(means.flatten(), rest.flatten(), over.reshape(-1, 1)).view_as(means)
        for sample, constraint in zip(samples[1:], aim.constraints, strict=True):
            values = values + constraint.log_chance(*sample.given(rows))
        return values.logsumexp(0) - math.log(SAMPLES)

    return gain


def integer_of(seed: Sequence[int]) -> int:
    """One number of 31 bits that depends on all of them."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1)[0] >> 1)
