"""Several outcomes at once: which experiments are on the front, and which limits bind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gollum.campaign.events import Suggestion
from gollum.campaign.state import State
from gollum.data.fronts import desirability, hypervolume, on_front, reference_point
from gollum.data.outcomes import Outcome, Vector


@dataclass(frozen=True, eq=False)
class Front:
    """How far a campaign with several objectives has come.

    Attributes:
        outcomes: the k objectives.
        table: a row per experiment with a value of all of them, as they arrived; its index holds
            the ids. The outcomes' means, whether all limits are known to hold ('feasible'),
            whether it is on the front ('front'), and the hypervolume after it ('volume').
        reference: the k values that count as no gain.
    """

    outcomes: tuple[Outcome, ...]
    table: pd.DataFrame
    reference: tuple[float, ...]

    @property
    def members(self) -> pd.DataFrame:
        """The experiments on the front, the best of the first objective first."""
        first = self.outcomes[0]
        rows = self.table[self.table["front"]]
        order = np.argsort(-first.goal.merit(rows[first.name].to_numpy(dtype=np.float64)))
        return rows.iloc[order]


@dataclass(frozen=True)
class Binding:
    """What a limit costs.

    Attributes:
        outcome: the limit.
        met: how many experiments meet it, of …
        known: … so many with a value.
        gain: by how much better the best experiment would be without it, in the unit of the
            objective, or by which share the hypervolume would be larger; NaN where no experiment
            meets the other limits.
    """

    outcome: Outcome
    met: int
    known: int
    gain: float


def trades(state: State, suggestions: Sequence[Suggestion]) -> list[str]:
    """What each suggestion gains and loses against the best that is known: 'r9: yield −3, ee +5'.

    The best one of a single objective or of weighed ones, within the limits; of a front, the member
    that is most like what is predicted. Empty where there is none, or no prediction.
    """
    means, front = state.means_of_all, front_of(state)
    worth = state.worth(means)
    best = str(means.index[int(np.argmax(worth))]) if np.isfinite(worth).any() else None
    found = []
    for suggestion in suggestions:
        said = {name: predicted.mean for name, predicted in suggestion.others.items()}
        if suggestion.mean is not None:
            said[state.objective.name] = suggestion.mean
        known = best
        if front is not None and len(front.members) and _tells_all(front, said):
            known = _most_alike(front, said)
        there = {} if known is None else means.loc[known].dropna().to_dict()
        parts = [f"{name} {said[name] - there[name]:+.3g}" for name in there if name in said]
        found.append(f"{known}: {', '.join(parts)}".replace("-", "−") if parts else "")
    return found


def _tells_all(front: Front, said: Mapping[str, float]) -> bool:
    return all(outcome.name in said for outcome in front.outcomes)


def _most_alike(front: Front, said: Mapping[str, float]) -> str:
    """The member of a front next to some values, in units of the width of all results."""
    width = np.maximum(np.ptp(merits_of(front.outcomes, front.table), axis=0), 1e-12)
    members = front.members
    wanted = merits_of(front.outcomes, pd.DataFrame([said]))
    off = ((merits_of(front.outcomes, members) - wanted) / width) ** 2
    return str(members.index[int(np.argmin(off.sum(axis=1)))])


def merits_of(outcomes: tuple[Outcome, ...], means: pd.DataFrame) -> Vector:
    """Merits n x k of experiments by their means."""
    columns = [
        (o.goal if o.goal.pursued else o.goal.alone).merit(means[o.name].to_numpy(dtype=np.float64))
        for o in outcomes
    ]
    return np.stack(columns, axis=1)


def front_of(state: State) -> Front | None:
    """The front so far; None for a single objective, weighed ones, and before the first result."""
    outcomes = state.pursued
    means = state.means_of_all.dropna(subset=[o.name for o in outcomes])
    if len(outcomes) < 2 or state.weighed or not len(means):
        return None
    merits, feasible = merits_of(outcomes, means), state.feasible(means)
    point = reference_of(outcomes, merits)
    counted = merits[feasible]
    after = [hypervolume(counted[: n + 1], point) for n in range(len(counted))]
    volume = np.concatenate([[0.0], after])[np.cumsum(feasible)]
    front = np.zeros(len(means), dtype=bool)
    front[feasible] = on_front(counted)
    table = means.assign(feasible=feasible, front=front, volume=volume / _box(merits, point))
    signs = [1.0 if o.goal.kind == "target" else o.goal.sign for o in outcomes]
    return Front(outcomes, table, tuple(s * p for s, p in zip(signs, point.tolist(), strict=True)))


def bindings(state: State) -> list[Binding]:
    """What each limit costs, the one that binds most first."""
    means = state.means_of_all.dropna(subset=[o.name for o in state.pursued])
    merits = merits_of(state.pursued, means) if len(means) else np.empty((0, 1))
    held = {o.name: o.goal.holds(means[o.name].to_numpy(dtype=np.float64)) for o in state.limits}
    found = []
    for outcome in state.limits:
        every = state.means_of_all[outcome.name].dropna().to_numpy(dtype=np.float64)
        others = [flags for name, flags in held.items() if name != outcome.name]
        free = np.logical_and.reduce([np.ones(len(means), dtype=bool), *others])
        gain = _gain(state, merits, free, free & held[outcome.name])
        found.append(Binding(outcome, int(outcome.goal.holds(every).sum()), len(every), gain))
    return sorted(found, key=lambda b: -np.nan_to_num(b.gain, posinf=np.inf))


def _gain(state: State, merits: Vector, free: np.ndarray, bound: np.ndarray) -> float:
    """What is better among some experiments than among those that meet a limit as well."""
    if not free.any():
        return float("nan")
    if not bound.any():
        return float("inf")
    if len(state.pursued) == 1:
        return float(merits[free, 0].max() - merits[bound, 0].max())
    if state.weighed:
        worth = desirability(state.pursued, merits)
        return float(worth[free].max() - worth[bound].max())
    point = reference_of(state.pursued, merits)
    known = hypervolume(merits[bound], point)
    return hypervolume(merits[free], point) / known - 1.0 if known > 0 else float("inf")


def reference_of(outcomes: tuple[Outcome, ...], merits: Vector) -> Vector:
    """Below all results, so that each counts, and within the bounds."""
    point = reference_point(merits, [outcome.least_merit for outcome in outcomes])
    for k, outcome in enumerate(outcomes):
        ends = [end for end in outcome.bounds if end is not None]
        goal = outcome.goal if outcome.goal.pursued else outcome.goal.alone
        worst = goal.merit(np.array(ends)).min() if len(ends) == 2 else -np.inf
        point[k] = max(point[k], worst)
    return point


def _box(merits: Vector, point: Vector) -> float:
    """Volume between the reference and the best value of each objective, that of a perfect one."""
    return float(np.prod(np.maximum(merits.max(axis=0) - point, 1e-12)))
