"""Why an experiment is suggested: what it resembles, which cells speak for it, what it is for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gollum.acquisition.limits import Rows
from gollum.acquisition.model_based import Modelled
from gollum.acquisition.scoring import Aim, widened
from gollum.acquisition.strategy import Observed, Selection
from gollum.analysis.learned.chemistry import groups
from gollum.analysis.metrics import INTERVAL
from gollum.campaign.advice import Advice, advice
from gollum.campaign.events import Effect, Neighbour, Prediction, Suggestion
from gollum.campaign.state import State
from gollum.data.outcomes import Outcome
from gollum.surrogates.base import Fitted

NEIGHBOURS = 3
STEPS = 50  # of conjugate gradients, most of which no table needs
ALIKE = 0.05  # smallest correlation that is worth a word
WITHIN, BEYOND = 0.5, 1.5  # posterior deviations below the best: exploit up to, explore from
LIKELY, UNLIKELY = 0.5, 0.15  # chances to be on the front: exploit from, explore up to

Intent = Literal["explore", "balance", "exploit"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MainEffects:
    """What each cell does to the prediction, with all other columns alike.

    Attributes:
        table: a row per column and value (numbers in bins) with `column, value, effect, measured`:
            what the value adds to the mean prediction, in units of the objective, and how many
            measured experiments have it.
        of_row: for each of N candidates and each column, the row of `table`.
    """

    table: pd.DataFrame
    of_row: NDArray[np.int64]

    def effects(self, row: int) -> tuple[Effect, ...]:
        """Those of one candidate, largest first."""
        found = self.table.iloc[self.of_row[row]]
        order = found["effect"].abs().sort_values(ascending=False, kind="stable").index
        return tuple(
            Effect(column=e["column"], value=e["value"], effect=e["effect"])
            for e in found.loc[order].to_dict("records")
        )


def main_effects(state: State, predicted: Vector, outcome: Outcome | None = None) -> MainEffects:
    """First-order effects of the posterior mean over the pool.

    Left out are columns with one value, and those where most values occur once, of which a mean
    over the pool says nothing.

    The effects are those of a least-squares fit of a sum over columns (`_adjusted`): where all
    combinations are candidates, the mean prediction of a value's candidates less that of all.

    Args:
        state: the campaign.
        predicted: N posterior means, in units of the outcome.
        outcome: what is predicted; the objective by default.
    """
    ids, _ = state.observations(outcome)
    measured = state.table.index.isin(ids)
    tables: list[pd.DataFrame] = []
    grouped: list[NDArray[np.int64]] = []
    for column in map(str, state.table.columns):
        codes, labels = groups(state.table[column])
        if len(labels) < 2 or 2 * len(labels) > len(codes) + 2:
            continue
        known = np.bincount(codes[measured], minlength=len(labels))
        tables.append(pd.DataFrame({"column": column, "value": labels, "measured": known}))
        grouped.append(codes)
    if not tables:
        empty = pd.DataFrame(columns=["column", "value", "effect", "measured"])
        return MainEffects(empty, np.empty((len(predicted), 0), dtype=np.int64))
    effects = _adjusted(grouped, [len(table) for table in tables], predicted - predicted.mean())
    table = pd.concat(tables, ignore_index=True)
    table.insert(2, "effect", np.concatenate(effects))
    starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
    return MainEffects(table, np.stack(grouped, axis=1) + starts)


def _adjusted(
    grouped: Sequence[NDArray[np.int64]], sizes: Sequence[int], values: Vector
) -> list[Vector]:
    """Least-squares effects of k columns' values, those of a column of mean 0 over the N rows.

    A column is not adjusted for another one that follows from it or that it follows from, such as
    a name and a property of what it names: they can't be told apart, and each shows the whole. On
    a full grid one step of conjugate gradients from 0 gives the means; what rows hardly tell apart
    stays near 0.

    Args:
        grouped: for each column, the value of each row from 0.
        sizes: how many values each column has.
        values: N predictions, of mean 0.
    """
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import cg

    ends = np.cumsum([0, *sizes])
    spans = [slice(*pair) for pair in itertools.pairwise(ends.tolist())]
    chosen = (np.stack(grouped, axis=1) + ends[:-1]).ravel()
    rows = np.arange(0, len(chosen) + 1, len(sizes))
    flags = csr_array((np.ones(len(chosen)), chosen, rows), shape=(len(values), int(ends[-1])))
    together = (flags.T @ flags).tocsr()
    counts = np.maximum(together.diagonal(), 1.0)
    scale = diags_array(counts**-0.5)
    whole, sums = scale @ together @ scale, scale @ (flags.T @ values)
    follows = [
        [together[a, b].nnz == size for b in spans] for a, size in zip(spans, sizes, strict=True)
    ]
    solved: dict[tuple[int, ...], Vector] = {}
    found = list[Vector]()
    for i, span in enumerate(spans):
        beside = tuple(
            j for j in range(len(spans)) if j == i or not (follows[i][j] or follows[j][i])
        )
        if beside not in solved:
            part = np.concatenate([np.arange(spans[j].start, spans[j].stop) for j in beside])
            solved[beside] = np.zeros(ends[-1])
            fit, _ = cg(whole[part][:, part], sums[part], rtol=1e-9, maxiter=STEPS)
            solved[beside][part] = fit / np.sqrt(counts[part])
        effect = solved[beside][span]
        found.append(effect - effect @ counts[span] / len(values))
    return found


@torch.no_grad()
def neighbours(state: State, fitted: Fitted, row: int) -> tuple[Neighbour, ...]:
    """The measured experiments that the model thinks most alike, with their mean results."""
    means = state.means()
    if means.empty:
        return ()
    measured = fitted.pool.positions(means.index)
    similarity = fitted.similarity(np.array([row]), measured)[0].tolist()
    known = zip(similarity, means.index.tolist(), means.tolist(), strict=True)
    nearest = sorted(known, key=lambda found: -found[0])[:NEIGHBOURS]
    return tuple(Neighbour(id=i, value=v, similarity=s) for s, i, v in nearest if s >= ALIKE)


@dataclass(frozen=True, eq=False)
class Explained:
    """Suggestions with calibrated predictions and their reasons.

    Attributes:
        state: the campaign.
        chosen: what was chosen, with its models.
        outcomes: all outcomes with their scales, the objective first.
        wider: name of an outcome → factor on its model's deviations.
        limited: whether widened deviations are limited (`widened`).
    """

    state: State
    chosen: Selection
    outcomes: Sequence[Observed]
    wider: Mapping[str, float]
    limited: bool = True

    def suggestions(self) -> list[Suggestion]:
        """One for each chosen experiment, in order; without a run."""
        chosen, scale, fitted = self.chosen, self.outcomes[0].scale, self.chosen.fitted
        assert fitted is not None  # noqa: S101 (there are no reasons without a model)
        rows = fitted.pool.positions(chosen.ids)
        effects = main_effects(self.state, self.predicted)
        inherited = None if fitted.unitless else fitted.inherited(rows)
        before = None if inherited is None else scale.values(inherited.cpu().numpy())
        return [
            expected.model_copy(
                update={
                    "acquisition": chosen.scores[i],
                    "inherited": None if before is None else float(before[i]),
                    "neighbours": neighbours(self.state, fitted, int(row)),
                    "effects": () if fitted.unitless else effects.effects(int(row)),
                }
            )
            for i, (row, expected) in enumerate(zip(rows, self.expected(rows), strict=True))
        ]

    @cached_property
    def predicted(self) -> Vector:
        """N predicted values of the objective."""
        assert self.chosen.fitted is not None  # noqa: S101 (likewise)
        fitted = self.chosen.fitted
        centre = fitted.location + fitted.scale * self._everywhere[0]
        return self.outcomes[0].scale.values(centre.cpu().numpy())

    def expected(self, rows: Rows) -> list[Suggestion]:
        """What is expected of m candidates, without reasons."""
        fitted = self.chosen.fitted
        assert fitted is not None  # noqa: S101 (likewise)
        lows, highs = self._interval(self.outcomes[0], fitted, rows)
        chances, intents = self._hopes(fitted, rows)
        held, others = self._modelled.log_limits(rows, self.wider), self._others(rows)
        told = not fitted.unitless
        return [
            Suggestion(
                run="",
                id=str(fitted.pool.ids[row]),
                mean=float(self.predicted[row]) if told else None,
                low=float(lows[i]) if told else None,
                high=float(highs[i]) if told else None,
                chance=min(1.0, max(0.0, float(chances[i]))) if len(fitted.rows) else None,
                limits=None if held is None else float(np.exp(held[i])),
                others={name: parts[i] for name, parts in others.items()},
                intent=intents[i],
            )
            for i, row in enumerate(rows)
        ]

    def advice(self) -> Advice:
        """Whether to go on, before the chosen experiments are done."""
        first, fitted = self.outcomes[0], self.chosen.fitted
        assert fitted is not None  # noqa: S101 (likewise)
        modelled = self._modelled if self.chosen.others else None
        return advice(self.state, fitted, self.wider, first.scale, modelled, self._everywhere)

    @cached_property
    def _everywhere(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised mean and variance of all N candidates."""
        assert self.chosen.fitted is not None  # noqa: S101 (likewise)
        return self.chosen.fitted.standardised(np.arange(len(self.chosen.fitted.pool)))

    def _interval(self, one: Observed, fitted: Fitted, rows: Rows) -> tuple[Vector, Vector]:
        """Between which values 95 % of measurements are predicted."""
        wider = self.wider[one.outcome.name]
        return interval(one, fitted, rows, wider, self.limited)

    @cached_property
    def _modelled(self) -> Modelled:
        assert self.chosen.fitted is not None  # noqa: S101 (as above)
        return Modelled(self.outcomes, self.chosen.fitted, self.chosen.others)

    def _others(self, rows: Rows) -> dict[str, list[Prediction]]:
        """What is predicted of further outcomes."""
        found = {}
        for one, fitted in self._modelled.further:
            means = one.scale.values(fitted.marginals(rows)[0].cpu().numpy())
            lows, highs = self._interval(one, fitted, rows)
            found[one.outcome.name] = [
                Prediction(mean=m, low=low, high=high)
                for m, low, high in zip(means.tolist(), lows.tolist(), highs.tolist(), strict=True)
            ]
        return found

    def _hopes(self, fitted: Fitted, rows: Rows) -> tuple[Sequence[float], list[Intent]]:
        """The chance that an experiment is a success, and what it is for."""
        first, modelled = self.outcomes[0], self._modelled
        if (several := modelled.several) is not None:
            ones = [*several.objectives, *(one for one, _ in modelled.limits)]
            wider = [self.wider[one.outcome.name] for one in ones]
            chances = several.chances(rows, wider).tolist()
            return chances, [_by_chance(chance) for chance in chances]
        goal, scale = self.state.goal, first.scale
        target = None if goal.kind != "target" else float(scale.utility(np.array([goal.target]))[0])
        aim = Aim.of(fitted, self.state.policy.acquisition, target, modelled.constraints)
        mean, variance = fitted.standardised(rows)
        factor = self.wider[first.outcome.name]
        best, wide = aim.best(fitted), widened(variance, factor, self.limited)
        chance = aim.chance(mean, wide, best).cpu().numpy()
        held = modelled.log_limits(rows, self.wider)
        chance = chance if held is None else chance * np.exp(held)
        merit, deviation = aim.merit(mean).tolist(), variance.sqrt().tolist()
        return chance.tolist(), intent(merit, deviation, best.item())


def interval(
    one: Observed, fitted: Fitted, rows: Rows, wider: float, limited: bool = True
) -> tuple[Vector, Vector]:
    """Between which values 95 % of measurements at m rows are predicted.

    Args:
        one: the outcome with its scale.
        fitted: its model.
        rows: positions of the candidates.
        wider: factor on the model's deviations.
        limited: as `widened` takes it.
    """
    mean, variance = fitted.standardised(rows)
    spread = widened(variance + fitted.noise, wider, limited).sqrt()
    centre = fitted.location + fitted.scale * mean
    reach = INTERVAL * fitted.scale * spread
    return one.scale.interval(centre.cpu().numpy(), reach.cpu().numpy())


def _by_chance(chance: float) -> Intent:
    """What an experiment is for, by its chance to be on the front."""
    return "exploit" if chance >= LIKELY else "explore" if chance <= UNLIKELY else "balance"


def intent(merit: Sequence[float], deviation: Sequence[float], best: float) -> list[Intent]:
    """Whether suggestions use what is known or find out something new.

    Args:
        merit: how good the predicted means are, larger is better.
        deviation: posterior standard deviations, in the same unit.
        best: merit of the best measurement.
    """
    found: list[Intent] = []
    for value, sigma in zip(merit, deviation, strict=True):
        below = (best - value) / max(sigma, 1e-12)
        found.append("exploit" if below <= WITHIN else "explore" if below >= BEYOND else "balance")
    return found
